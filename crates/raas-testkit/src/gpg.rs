//! A GnuPG of a test's own, with keys in a temporary folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of GnuPG. The agent that it starts ends with this value.
#[derive(Debug)]
pub struct Gpg {
    folder: PathBuf,
}

/// What a test says if the program is missing.
const MISSING: &str = "gpg is not installed; run: python3 tests/harness/packages.py e2e";

impl Gpg {
    /// A folder without keys.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // The path of a socket has at most 108 bytes, so the folder is not below that of the test.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("raas-test-gpg-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder }
    }

    /// The folder, which is the value of `GNUPGHOME`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs gpg with this standard input, and returns what it prints.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", &self.folder).args(["--batch", "--quiet", "--no-tty"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect(MISSING);
        // A command that has read enough closes its standard input.
        drop(child.stdin.take().unwrap().write_all(input));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key without a password, and returns its fingerprint.
    pub fn key(&self, name: &str) -> String {
        self.key_with_password(name, "")
    }

    /// Makes a key with a password, and returns its fingerprint.
    pub fn key_with_password(&self, name: &str, password: &str) -> String {
        let passphrase = ["--pinentry-mode", "loopback", "--passphrase", password];
        let made = ["--quick-gen-key", name, "ed25519", "sign", "never"];
        self.run(&[&passphrase[..], &made].concat(), b"");
        let list = self.run(&["--with-colons", "--list-keys", name], b"");
        let list = String::from_utf8(list).unwrap();
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// A public key in binary.
    pub fn public(&self, key: &str) -> Vec<u8> {
        self.run(&["--export", key], b"")
    }

    /// A public key as text.
    pub fn armoured(&self, key: &str) -> Vec<u8> {
        self.run(&["--armor", "--export", key], b"")
    }

    /// A message with a signature of the key, as skopeo makes it.
    pub fn sign(&self, key: &str, content: &[u8]) -> Vec<u8> {
        self.run(&["--local-user", key, "--sign"], content)
    }
}

impl Gpg {
    /// Ends the agent, which remembers passwords.
    pub fn end_agent(&self) {
        let mut command = Command::new("gpgconf");
        command.env("GNUPGHOME", &self.folder).args(["--kill", "all"]);
        drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        self.end_agent();
        drop(fs::remove_dir_all(&self.folder));
    }
}
