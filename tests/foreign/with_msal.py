"""Signs in to the simulated tenant with msal: secret, certificate, code, device code, refresh, password."""

import hashlib
import json
import ssl
import sys
import urllib.parse

import msal
import requests


def tenant_of(path):
    with open(path) as file:
        return json.load(file)


def ok(what, answer):
    assert "access_token" in answer, f"{what}: {answer}"
    print(f"  msal {msal.__version__}: {what}")
    return answer


def refused(what, answer, number):
    assert number in answer.get("error_codes", []), f"{what}: {answer}"
    print(f"  msal {msal.__version__}: {what} is refused with {number}")


def thumbprint(pem):
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def main():
    tenant = tenant_of(sys.argv[1])
    authority = tenant["login"] + tenant["tenant"]
    app_scope = [tenant["graph"] + ".default"]
    user_scope = ["https://graph.microsoft.com/User.Read", "https://graph.microsoft.com/Mail.Read"]
    common = dict(client_id=tenant["client"], authority=authority, instance_discovery=False)

    def confidential(credential):
        return msal.ConfidentialClientApplication(client_credential=credential, **common)

    app = confidential(tenant["secret"])
    token = ok("client secret", app.acquire_token_for_client(app_scope))
    users = requests.get(
        tenant["graph"] + "v1.0/users",
        headers={"Authorization": "Bearer " + token["access_token"]},
        timeout=30,
    )
    assert users.status_code == 200 and len(users.json()["value"]) >= 3, users.text
    refused(
        "a wrong secret",
        confidential("wrong").acquire_token_for_client(app_scope),
        7000215,
    )

    with open(tenant["cert"]) as cert, open(tenant["key"]) as key:
        certificate, private_key = cert.read(), key.read()
    signed = {"private_key": private_key, "public_certificate": certificate}
    ok("certificate, PS256", confidential(signed).acquire_token_for_client(app_scope))
    signed = {"private_key": private_key, "thumbprint": thumbprint(certificate)}
    ok("certificate, RS256", confidential(signed).acquire_token_for_client(app_scope))

    public = msal.PublicClientApplication(**common)
    flow = public.initiate_device_flow(user_scope)
    assert "user_code" in flow, flow
    token = ok("device code", public.acquire_token_by_device_flow(flow))
    account = public.get_accounts()[0]
    assert account["username"], account
    ok("refresh", public.acquire_token_silent(user_scope, account, force_refresh=True))

    for what, client, redirect in [
        ("authorization code, public", public, "http://localhost"),
        ("authorization code, confidential", app, "http://localhost/web"),
    ]:
        flow = client.initiate_auth_code_flow(user_scope, redirect_uri=redirect)
        page = requests.get(flow["auth_uri"], allow_redirects=False, timeout=30)
        assert page.status_code == 302, (page.status_code, page.text)
        back = urllib.parse.urlsplit(page.headers["Location"])
        answer = dict(urllib.parse.parse_qsl(back.query))
        ok(what, client.acquire_token_by_auth_code_flow(flow, answer))

    # msal would ask a directory of domains first, at the port of the worldwide cloud.
    answer = requests.post(
        authority + "/oauth2/v2.0/token",
        data={
            "grant_type": "password",
            "client_id": tenant["client"],
            "username": tenant["user"],
            "password": tenant["password"],
            "scope": " ".join(user_scope),
        },
        timeout=30,
    )
    ok("password, without msal", answer.json())
    token = public.acquire_token_by_refresh_token(tenant["refresh"], user_scope)
    ok("refresh token of the tenant file", token)


main()
