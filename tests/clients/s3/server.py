"""An S3 server that nobody here wrote, and that checks each signature, for as long as its input is open.

Says what it is in one line of JSON: {"endpoint", "bucket", "access_key_id", "secret_access_key"}.
"""

import json
import logging
import os
import sys

# Its own loopback address alone; what a machine is set up for otherwise is none of this.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]

import boto3
import requests
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
BUCKET = "artifacts"

server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"


def client(service):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="setup",
        aws_secret_access_key="setup",
    )


client("s3").create_bucket(Bucket=BUCKET)
iam = client("iam")
iam.create_user(UserName="opg")
allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
iam.put_user_policy(UserName="opg", PolicyName="all", PolicyDocument=document)
key = iam.create_access_key(UserName="opg")["AccessKey"]
# From now on who signs wrongly is refused.
requests.post(f"{endpoint}/moto-api/reset-auth", data="0").raise_for_status()
print(
    json.dumps(
        {
            "endpoint": endpoint,
            "bucket": BUCKET,
            "access_key_id": key["AccessKeyId"],
            "secret_access_key": key["SecretAccessKey"],
        }
    ),
    flush=True,
)
sys.stdin.read()
server.stop()
