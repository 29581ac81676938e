//! Whose what runs in a sandbox of an image is, and what is made there: the image's user's, if nobody says another.

use blackbox::{Client, Server};
use serde_json::json;

use super::{
    content::{gzip, root_file_system},
    registry::{OCI_GZIP, OCI_MANIFEST, Registry},
    shared::{create, keyed, output, output_of, request},
};

fn execd(id: &str, path: &str) -> String {
    format!("/v1/sandboxes/{id}/proxy/44772{path}")
}

fn upload(client: &Client, id: &str, metadata: &serde_json::Value) {
    let body = format!(
        "--cut\r\ncontent-disposition: form-data; name=\"metadata\"; filename=\"m\"\r\n\r\n{metadata}\r\n\
         --cut\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\ncontent\r\n--cut--\r\n"
    );
    let kind = "multipart/form-data; boundary=cut";
    let sent = client.send_bytes("POST", &execd(id, "/files/upload"), Some((kind, body.as_bytes()))).unwrap();
    let sent = sent.into_text();
    assert_eq!(sent.status, 200, "{}", sent.text);
}

#[test]
fn commands_sessions_and_files_are_the_image_users_unless_the_request_says_whose() {
    let (server, registry) = (Server::start(), Registry::start());
    let client = keyed(&server);
    let root = root_file_system();
    registry.push("debian", "12", OCI_MANIFEST, &[(OCI_GZIP, gzip(&root), &root)]);
    let mut body = request(&json!({"uri": registry.reference("debian:12")}));
    body["env"] = json!({"OWN": "client"});
    let id = create(&client, &body);

    let script = "id -u; id -g; pwd; echo $HOME $USER $A $OWN; stat -c %u /proc/$$";
    assert_eq!(output(&client, &id, script), "1000\n1000\n/tmp\n/ user b client\n1000");
    let as_root = json!({"command": "id -u; echo $USER; echo x > /etc/roots", "uid": 0});
    assert_eq!(output_of(&client, &id, &as_root), "0\nroot");
    assert_eq!(output(&client, &id, "echo x 2>/dev/null > /etc/roots || echo refused"), "refused");

    let session = client.post(&execd(&id, "/session"), &json!({})).ok();
    let run = execd(&id, &format!("/session/{}/run", session["session_id"].as_str().unwrap()));
    assert_eq!(client.post(&run, &json!({"command": "WORD=kept; cd /var"})).status, 200);
    let second = client.post(&run, &json!({"command": "echo $WORD $PWD $(id -u)"}));
    assert!(second.text.contains("kept /var 1000"), "{}", second.text);

    upload(&client, &id, &json!({"path": "/tmp/new/deep/file"}));
    upload(&client, &id, &json!({"path": "/tmp/given", "owner": "root", "group": "0", "mode": 600}));
    upload(&client, &id, &json!({"path": "/etc/roots"}));
    let folders = json!({"/opt/made/deep": {"mode": 750}});
    assert_eq!(client.post(&execd(&id, "/directories"), &folders).status, 200);
    let seen = "stat -c '%u:%g %a %n' /tmp/new /tmp/new/deep /tmp/new/deep/file /tmp/given /etc/roots /opt/made/deep";
    assert_eq!(output(&client, &id, seen), {
        "1000:1000 755 /tmp/new\n1000:1000 755 /tmp/new/deep\n1000:1000 644 /tmp/new/deep/file\n\
         0:0 600 /tmp/given\n0:0 644 /etc/roots\n1000:1000 750 /opt/made/deep"
    });
    assert_eq!(
        output(&client, &id, "echo more >> /tmp/new/deep/file && cat /tmp/new/deep/file"),
        "contentmore"
    );
}

#[test]
fn what_an_image_says_of_its_programs_may_be_wrong_or_less_than_usual() {
    let (server, registry) = (Server::start(), Registry::start());
    let client = keyed(&server);
    let root = root_file_system();
    let layers = [(OCI_GZIP, gzip(&root), &root[..])];
    let more = json!({"User": "nobody-there"});
    registry.push_saying("lost", "latest", OCI_MANIFEST, &layers, "amd64", &more);
    let refused = client.post("/v1/sandboxes", &request(&json!({"uri": registry.reference("lost")})));
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.text.contains("nobody-there"), "{}", refused.text);
    let mut body = request(&json!({"uri": registry.reference("lost")}));
    body["entrypoint"] = json!(["/no/such/program"]);
    assert_eq!(client.post("/v1/sandboxes", &body).status, 400);
    assert_eq!(client.get("/v1/sandboxes").ok()["pagination"]["totalItems"], 0);

    // No folder of this name, a user by name with a group by number, variables in the place of the usual ones.
    let more = json!({"User": "user:50", "WorkingDir": "/srv/app", "Env": ["HOME=/srv", "PATH=/usr/bin"]});
    registry.push_saying("app", "latest", OCI_MANIFEST, &layers, "amd64", &more);
    let id = create(&client, &request(&json!({"uri": registry.reference("app")})));
    assert_eq!(output(&client, &id, "id -u; id -g; pwd; echo $HOME $PATH $USER"), {
        "1000\n50\n/srv/app\n/srv /usr/bin user"
    });
    let more = json!({"WorkingDir": "", "Env": null});
    registry.push_saying("plain", "latest", OCI_MANIFEST, &layers, "amd64", &more);
    let id = create(&client, &request(&json!({"uri": registry.reference("plain")})));
    assert_eq!(output(&client, &id, "id -u; pwd; echo $HOME"), "0\n/\n/root");
}
