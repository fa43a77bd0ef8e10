"""A mail server that nobody here wrote, for as long as its input is open.

server.py [WORD…], each of which changes it:
    login      takes letters of opg with the password `p/q%` alone
    starttls   encrypts, with a certificate for localhost of an authority made for it, and takes nothing in the clear
    tls        the same from the first byte
    refuse     knows nobody, and says the address it does not know
    slow       takes five seconds for each letter

Says where it is in one line of JSON, {"port", "authority"}, and then each letter in another: {"from", "to", "text"}.
"""

import asyncio
import json
import os
import ssl
import sys
import tempfile

import trustme
from aiosmtpd.smtp import SMTP, AuthResult

words = set(sys.argv[1:])


class Letters:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if "refuse" in words:
            return f"550 5.1.1 <{address}>: no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if "slow" in words:
            await asyncio.sleep(5)
        text = envelope.content.decode()
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": text}), flush=True)
        return "250 OK"


def authenticator(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (b"opg", b"p/q%")
    return AuthResult(success=known, handled=known)


authority, from_the_start, options = None, None, {}
if words & {"starttls", "tls"}:
    made = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.issue_cert("localhost").configure_cert(context)
    with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as file:
        file.write(made.cert_pem.bytes())
    authority = file.name
    if "tls" in words:
        from_the_start = context
    else:
        options |= {"tls_context": context, "require_starttls": True}
if "login" in words:
    options |= {"authenticator": authenticator, "auth_required": True, "auth_require_tls": "starttls" in words}


async def serve():
    def connected():
        return SMTP(Letters(), hostname="localhost", **options)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connected, "127.0.0.1", 0, ssl=from_the_start)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port, "authority": authority}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    if authority:
        os.unlink(authority)


asyncio.run(serve())
