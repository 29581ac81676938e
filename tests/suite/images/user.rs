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
    assert_eq!(sent.status, 200);
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
    upload(&client, &id, &json!({"path": "/tmp/given", "owner": "root", "group": "root", "mode": 600}));
    upload(&client, &id, &json!({"path": "/etc/roots"}));
    let folders = json!({"/opt/made/deep": {"mode": 750}});
    assert_eq!(client.post(&execd(&id, "/directories"), &folders).status, 200);
    let seen = "stat -c '%u:%g %a %n' /tmp/new /tmp/new/deep /tmp/new/deep/file /tmp/given /etc/roots /opt/made/deep";
    assert_eq!(output(&client, &id, seen), {
        "1000:1000 755 /tmp/new\n1000:1000 755 /tmp/new/deep\n1000:1000 644 /tmp/new/deep/file\n\
         0:0 600 /tmp/given\n0:0 644 /etc/roots\n1000:1000 750 /opt/made/deep"
    });
    assert_eq!(output(&client, &id, "echo more >> /tmp/new/deep/file && cat /tmp/new/deep/file"), "contentmore");
}
