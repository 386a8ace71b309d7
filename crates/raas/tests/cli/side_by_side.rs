//! Several operators who push at the same time.

use std::process::Stdio;

use raas_testkit::oci::Layout;

use crate::client::Client;
use crate::sandbox::Sandbox;

fn image(tag: &str, content: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let image = layout.simple_image(content);
    layout.tag(&image, tag);
    layout.tar()
}

#[test]
fn concurrent_pushes_lose_nothing() {
    let sandbox = Sandbox::new();
    let pushes: Vec<(String, String)> = (0..8).map(|n| (format!("app{}", n / 2), format!("t{n}"))).collect();
    let children: Vec<_> = pushes
        .iter()
        .map(|(name, tag)| {
            let path = sandbox.write(&format!("{tag}.tar"), image(tag, tag));
            let mut command = sandbox.command(&["push", "acme", name, "--from", &path]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(sandbox.commits("acme"), pushes.len());
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    for (name, tag) in &pushes {
        assert!(client.tags(name).contains(tag), "{name}:{tag}");
        client.pull(name, tag);
    }
}
