"""Uses the simulated tenant with msgraph-sdk: users, message and drive changes, upload session, batch."""

import asyncio
import io
import json
import os
import sys
import urllib.parse
from importlib.metadata import version

from azure.identity import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import (
    AzureIdentityAuthenticationProvider,
)
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.drives.item.items.item.create_upload_session.create_upload_session_post_request_body import (
    CreateUploadSessionPostRequestBody,
)
from msgraph.generated.models.drive_item_uploadable_properties import DriveItemUploadableProperties
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem
from msgraph_core.tasks.large_file_upload import LargeFileUploadTask

with open(sys.argv[1]) as file:
    TENANT = json.load(file)


def done(what):
    print(f"  msgraph-sdk {version('msgraph-sdk')}: {what}")


def connect():
    credential = ClientSecretCredential(
        TENANT["tenant"],
        TENANT["client"],
        TENANT["secret"],
        authority=TENANT["login"].rstrip("/"),
        disable_instance_discovery=True,
    )
    host = urllib.parse.urlsplit(TENANT["graph"]).hostname
    provider = AzureIdentityAuthenticationProvider(
        credential,
        scopes=["https://graph.microsoft.com/.default"],
        allowed_hosts=[host],
    )
    adapter = GraphRequestAdapter(provider)
    adapter.base_url = TENANT["graph"] + "v1.0"
    return adapter, GraphServiceClient(request_adapter=adapter)


async def follow(first, builder):
    """Reads all pages of a feed; returns the entries and the delta link."""
    entries, page = [], first
    while True:
        entries += page.value or []
        if page.odata_next_link is None:
            assert page.odata_delta_link, "a feed ends in a delta link"
            return entries, page.odata_delta_link
        page = await builder.with_url(page.odata_next_link).get()


async def users(client):
    builder = client.users
    query = type(builder).UsersRequestBuilderGetQueryParameters(
        select=["id", "userPrincipalName", "mail"], top=2
    )
    page = await builder.get(RequestConfiguration(query_parameters=query))
    found = list(page.value)
    while page.odata_next_link:
        page = await builder.with_url(page.odata_next_link).get()
        found += page.value
    assert {user.user_principal_name for user in found} == set(TENANT["users"])
    one = await client.users.by_user_id(TENANT["user"]).get()
    assert one.mail == TENANT["user"]
    done(f"{len(found)} users in pages, one by name")


async def messages(client):
    inbox = client.users.by_user_id(TENANT["user"]).mail_folders.by_mail_folder_id("Inbox")
    builder = inbox.messages.delta
    entries, link = await follow(await builder.get(), builder)
    assert len(entries) >= 7, len(entries)
    again, _ = await follow(await builder.with_url(link).get(), builder)
    assert again == [], "nothing has changed"
    message = await inbox.messages.by_message_id(entries[0].id).get()
    assert message.subject == entries[0].subject
    mime = await client.users.by_user_id(TENANT["user"]).messages.by_message_id(entries[0].id).content.get()
    assert b":" in mime
    done(f"{len(entries)} messages by delta, none after that, MIME of one")


async def drive(client):
    root = client.drives.by_drive_id(TENANT["drive"]).items.by_drive_item_id("root")
    entries, link = await follow(await root.delta.get(), root.delta)
    files = [entry for entry in entries if entry.file]
    assert len(files) >= 2 and all(entry.file.hashes.quick_xor_hash for entry in files)
    smallest = min(files, key=lambda entry: entry.size)
    item = client.drives.by_drive_id(TENANT["drive"]).items.by_drive_item_id(smallest.id)
    content = await item.content.get()
    assert len(content or b"") == smallest.size
    done(f"{len(entries)} drive items by delta, content of one")
    return link


async def upload(client, adapter, link):
    size = 4 * 327_680 + 12_345
    name = "from msgraph-sdk.bin"
    body = CreateUploadSessionPostRequestBody(
        item=DriveItemUploadableProperties(
            additional_data={"@microsoft.graph.conflictBehavior": "replace"}
        )
    )
    parent = client.drives.by_drive_id(TENANT["drive"]).items.by_drive_item_id(f"root:/{name}:")
    session = await parent.create_upload_session.post(body)
    assert session.upload_url
    # Two fragments: the task asks for one byte too many in a third.
    task = LargeFileUploadTask(session, adapter, io.BytesIO(os.urandom(size)), max_chunk_size=327_680 * 4)
    result = await task.upload()
    assert result.upload_succeeded, result
    root = client.drives.by_drive_id(TENANT["drive"]).items.by_drive_item_id("root")
    changed, _ = await follow(await root.delta.with_url(link).get(), root.delta)
    ours = [entry for entry in changed if entry.name == name]
    assert ours and ours[0].size == size, changed
    done(f"{size} bytes by an upload session, seen by delta")


async def batch(client, adapter):
    batch = BatchRequestContent()
    ids = []
    for builder in [
        client.users.by_user_id(TENANT["user"]),
        client.drives.by_drive_id(TENANT["drive"]),
        client.users.by_user_id("nobody@contoso.example"),
    ]:
        item = BatchRequestItem(builder.to_get_request_information())
        batch.add_request(item.id, item)
        ids.append(item.id)
    answer = await client.batch.post(batch)
    statuses = [answer.get_response_by_id(id).status for id in ids]
    assert statuses == [200, 200, 404], statuses
    done(f"a batch of three: {statuses}")


async def main():
    adapter, client = connect()
    await users(client)
    await messages(client)
    link = await drive(client)
    await upload(client, adapter, link)
    await batch(client, adapter)


asyncio.run(main())
