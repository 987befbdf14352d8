//! Permissions: what tenant and client want for each operation, against what is published.

use m365_graph::requirements;
use m365_simulator::server::permission_table;

use crate::description::Description;
use crate::folder;

#[test]
fn tenant_and_client_want_the_published_permissions() {
    let Some(folder) = folder() else { return };
    let description = Description::read(&folder);
    let (mut compared, mut complaints) = (0, Vec::new());
    let of_client = requirements()
        .iter()
        .map(|need| (need.operation, need.application, need.delegated));
    for (route, application, delegated) in permission_table().chain(of_client) {
        let (method, path) = route.split_once(' ').unwrap();
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => "x",
            false => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        let Some(operation) = description.operation(method, &path) else {
            complaints.push(format!("{route}: no such operation"));
            continue;
        };
        let published = &operation.value["x-ms-permissions"];
        for (kind, ours) in [("Application", application), ("DelegatedWork", delegated)] {
            let names = |which: &str| {
                published[kind][which]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            };
            let (least, higher) = (names("least"), names("higher"));
            if least.is_empty() {
                continue;
            }
            compared += 1;
            let known = |name: &str| least.iter().chain(&higher).any(|own| own == name);
            if !ours.iter().any(|name| known(name)) {
                complaints.push(format!("{route} {kind}: none of ours is published"));
            }
            for name in ours.iter().filter(|name| !known(name)) {
                // Who may write may read, and what is granted for all serves one.
                let implied =
                    name.contains("ReadWrite") && known(&name.replace("ReadWrite", "Read"));
                let basic = name.starts_with("Mail.ReadBasic") && known(&format!("{name}.All"));
                let elsewhere =
                    route.ends_with("createUploadSession") && *name == "Files.ReadWrite.All";
                let broad = name.starts_with("Directory.");
                if !(implied || basic || elsewhere || broad) {
                    complaints.push(format!("{route} {kind}: {name} is not published"));
                }
            }
        }
    }
    println!("{compared} rights of operations compared with the published ones");
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(compared >= 100, "only {compared}");
}
