"""Looks into the bucket with Amazon's own client: lists it, prints one object, or writes one.

objects.py [KEY [TEXT]], with the server in the environment's OPG_S3, as server.py said it.
"""

import hashlib
import json
import os
import sys

import boto3

there = json.loads(os.environ["OPG_S3"])
s3 = boto3.client(
    "s3",
    endpoint_url=there["endpoint"],
    region_name="us-east-1",
    aws_access_key_id=there["access_key_id"],
    aws_secret_access_key=there["secret_access_key"],
)


def read(key):
    return s3.get_object(Bucket=there["bucket"], Key=key)["Body"].read()


match sys.argv[1:]:
    case []:
        listed = s3.list_objects_v2(Bucket=there["bucket"]).get("Contents", [])
        print(json.dumps({one["Key"]: hashlib.sha256(read(one["Key"])).hexdigest() for one in listed}))
    case [key]:
        print(read(key).decode())
    case [key, text]:
        s3.put_object(Bucket=there["bucket"], Key=key, Body=text.encode())
