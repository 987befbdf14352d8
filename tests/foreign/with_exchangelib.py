"""Reads a mailbox of the simulated tenant by EWS with exchangelib: folders, items, their content."""

import json
import sys

from exchangelib import (
    IMPERSONATION,
    OAUTH2,
    Account,
    Build,
    Configuration,
    EWSTimeZone,
    Identity,
    OAuth2Credentials,
    Version,
    __version__,
)


def main():
    with open(sys.argv[1]) as file:
        tenant = json.load(file)

    class Credentials(OAuth2Credentials):
        """Asks the simulated identity platform; the library knows the worldwide one only."""

        @property
        def token_url(self):
            return f"{tenant['login']}{tenant['tenant']}/oauth2/v2.0/token"

    credentials = Credentials(
        client_id=tenant["client"],
        client_secret=tenant["secret"],
        tenant_id=tenant["tenant"],
        identity=Identity(primary_smtp_address=tenant["user"]),
    )
    config = Configuration(
        service_endpoint=tenant["ews"],
        credentials=credentials,
        auth_type=OAUTH2,
        version=Version(build=Build(15, 20, 9000, 1)),
    )
    account = Account(
        tenant["user"],
        config=config,
        autodiscover=False,
        access_type=IMPERSONATION,
        default_timezone=EWSTimeZone("UTC"),
    )

    def done(what):
        print(f"  exchangelib {__version__}: {what}")

    inbox = account.inbox
    assert inbox.total_count >= 7, inbox.total_count
    done(f"GetFolder: {inbox.total_count} items in the inbox")
    names = [folder.name for folder in account.root.walk()]
    assert len(names) >= 8, names
    done(f"FindFolder: {len(names)} folders")
    assert inbox.all().count() == inbox.total_count
    newest = list(inbox.all().order_by("-datetime_received").only("subject", "datetime_received")[:5])
    times = [item.datetime_received for item in newest]
    assert len(newest) == 5 and times == sorted(times, reverse=True), times
    done("FindItem: a sorted page")
    items = list(inbox.all())
    assert len(items) == inbox.total_count, len(items)
    assert all(item.sender or item.author or item.message_id for item in items)
    one = inbox.get(id=items[0].id, changekey=items[0].changekey)
    assert one.mime_content and b"ubject:" in one.mime_content, one.mime_content
    done("GetItem: all items, and the MIME content of one")


main()
