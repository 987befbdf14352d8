//! What the engines ask of the service, and what it answers them, against the official description,
//! where the folder that holds it is at hand (`M365_CONFORMANCE_DIR`, by default `../shared`).

use backup_store::catalog::Service;
use m365_graph::requirements;
use restore_engine::{DriveTarget, OutlookTarget};

use crate::checked::Checked;
use crate::description::{Description, folder};
use crate::recording::Recording;
use crate::restore::{Story, large_message, to};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_backup_and_restore_ask_is_as_described() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let recording = Recording::default();
    let story = Story::begin_over(15, |tenant| recording.transport(tenant)).await;
    let (adele, bob) = story.two_users();
    let added = story.tenant.add_message(&adele, "inbox", large_message());
    assert!(added.is_some());
    story.back_up().await;
    let mail = story.snapshot(Service::Outlook, &adele).await;
    let target = OutlookTarget::new(story.client.clone(), &bob);
    story
        .restore(&to(&bob, mail, Some("Restored")), &target)
        .await;
    let drive = story.snapshot(Service::OneDrive, &adele).await;
    let target = DriveTarget::new(story.client.clone(), &bob);
    story
        .restore(&to(&bob, drive, Some("Restored")), &target)
        .await;

    let mut checked = Checked::default();
    for exchange in recording.exchanges() {
        checked.check(&description, &exchange);
    }
    println!(
        "backup and restore: {} operations, {} bodies of requests and {} of answers checked",
        checked.operations.len(),
        checked.requests,
        checked.answers
    );
    assert!(checked.complaints.is_empty(), "{:#?}", checked.complaints);
    let wanted = [
        "POST /users/{user-id}/mailFolders/{mailFolder-id}/messages",
        "POST /users/{user-id}/messages/{message-id}/attachments/createUploadSession",
        "POST /drives/{drive-id}/items/{driveItem-id}:/{file-name}:/createUploadSession",
        "PUT {uploadUrl}",
    ];
    for name in wanted {
        let times = checked.operations.get(name).copied().unwrap_or_default();
        assert!(times > 0, "{name}: {:#?}", checked.operations);
    }
    assert!(checked.requests >= 50, "only {}", checked.requests);
    // Whoever may not do one of them is told which permission is missing.
    let listed = |name: &str| {
        // An item is named by its id there, however it is addressed.
        let name = name.replace(":/{file-name}:", "");
        requirements().iter().any(|need| need.operation == name)
    };
    let unlisted: Vec<&String> = checked
        .operations
        .keys()
        .filter(|name| !name.contains(" {") && !listed(name))
        .collect();
    assert!(
        unlisted.is_empty(),
        "no permission is named for {unlisted:#?}"
    );
}
