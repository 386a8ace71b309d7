//! `raas.cfg` in a file and in a private repository, and the backup in the repository.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::oci::Layout;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::sandbox::{Sandbox, send, succeeded};

/// A bare configuration repository, as a service hosts it.
struct Repository {
    folder: PathBuf,
}

impl Repository {
    fn empty(sandbox: &Sandbox) -> Self {
        let folder = sandbox.path("conf.git");
        git(&["init", "--bare", "--quiet", "--initial-branch=main", folder.to_str().unwrap()]);
        Self { folder }
    }

    fn new(sandbox: &Sandbox, text: &str) -> Self {
        let repository = Self::empty(sandbox);
        repository.commit(sandbox, "main", text);
        repository
    }

    /// Commits a raas.cfg to a branch.
    fn commit(&self, sandbox: &Sandbox, branch: &str, text: &str) {
        self.commit_file(sandbox, branch, "raas.cfg", text);
    }

    fn commit_file(&self, sandbox: &Sandbox, branch: &str, file: &str, text: &str) {
        let work = sandbox.path("conf-work");
        git(&["clone", "--quiet", self.folder.to_str().unwrap(), work.to_str().unwrap()]);
        let work_text = work.to_str().unwrap();
        fs::write(work.join(file), text).unwrap();
        git(&["-C", work_text, "checkout", "--quiet", "-B", branch]);
        git(&["-C", work_text, "add", "."]);
        git(&["-C", work_text, "commit", "--quiet", "-m", "Configure"]);
        git(&["-C", work_text, "push", "--quiet", "origin", branch]);
        fs::remove_dir_all(work).unwrap();
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    fn show(&self, what: &str) -> String {
        git(&["--git-dir", self.folder.to_str().unwrap(), "show", what])
    }

    fn files(&self, branch: &str) -> Vec<String> {
        let said = git(&["--git-dir", self.folder.to_str().unwrap(), "ls-tree", "-r", "--name-only", branch]);
        said.lines().map(str::to_owned).collect()
    }

    fn commits(&self, branch: &str) -> usize {
        git(&["--git-dir", self.folder.to_str().unwrap(), "log", "--oneline", branch]).lines().count()
    }
}

fn git(arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Jane", "-c", "user.email=jane@example.com"]).args(arguments);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    succeeded(&command.output().unwrap())
}

fn image(tag: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let image = layout.simple_image(tag);
    layout.tag(&image, tag);
    layout.tar()
}

/// The command with a configuration repository.
fn with_repository(sandbox: &Sandbox, address: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command.env("RAAS_CONF_REPO", address);
    command
}

fn left_behind(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.home().join("_config")).map_or(0, Iterator::count)
}

#[test]
fn the_first_named_configuration_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[aws]\nregion = here\n");
    let named = sandbox.write("other.cfg", "[aws]\nregion = named\n");
    let repository = Repository::new(&sandbox, "[aws]\nregion = repository\n");
    repository.commit(&sandbox, "staging", "[aws]\nregion = staging\n");
    let shown = |address: Option<&str>, more: &[&str]| {
        let mut command = sandbox.command(&[&["config", "show", "--json"], more].concat());
        address.map(|address| command.env("RAAS_CONF_REPO", address));
        let said = succeeded(&command.output().unwrap());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["sections"]["aws"]["region"].as_str().unwrap().to_owned()
    };
    let url = repository.url();
    assert_eq!(shown(None, &[]), "here");
    assert_eq!(shown(Some(&url), &[]), "repository");
    assert_eq!(shown(Some(&url), &["--configenv", "staging"]), "staging");
    assert_eq!(shown(Some(&url), &["--config", &named]), "named");
    assert_eq!(left_behind(&sandbox), 0);
    let failure = sandbox.fails(2, &["config", "show", "--configenv", "staging"]);
    assert!(failure.contains("RAAS_CONF_REPO"), "{failure}");
}

#[test]
fn a_failed_clone_is_reported_without_the_password() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "");
    let table: [(String, &[&str], &str); 3] = [
        // A folder that is no repository.
        (format!("file://{}", sandbox.path("").display()), &[], "does not appear to be"),
        (repository.url(), &["--configenv", "nowhere"], "nowhere not found"),
        ("http://user:hunter2@127.0.0.1:1/conf.git".into(), &[], "127.0.0.1"),
    ];
    for (address, more, word) in table {
        let output =
            with_repository(&sandbox, &address, &[&["config", "check"], more].concat()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(word) && !said.contains("hunter2"), "{said}");
    }
    assert_eq!(left_behind(&sandbox), 0);
}

#[test]
fn check_names_the_line_and_suggests_the_right_key() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[redhat]\n\nmask_layer = x\n");
    let failure = sandbox.fails(2, &["config", "check"]);
    assert!(
        failure.contains("raas.cfg, line 3") && failure.contains("did you mean `mask_layers`?"),
        "{failure}"
    );
    sandbox.write("raas.cfg", "[openshift]\npassword = hunter2\n");
    assert!(sandbox.ok(&["config", "check"]).contains("1 key\n"));
    assert_eq!(sandbox.json(&["config", "check", "--json"])["key_count"], 1);
    let masks = format!("[redhat]\nmask_layers = {}\n", "e1".repeat(32));
    sandbox.write("raas.cfg", &masks);
    let said = sandbox.ok(&["config", "check"]);
    assert!(said.contains("warning: 1 layer of `mask_layers` without a known location"), "{said}");
    sandbox.write("raas.cfg", format!("{masks}layer_url = https://cdn.example.com\n"));
    assert_eq!(sandbox.json(&["config", "check", "--json"])["warnings"].as_array().unwrap().len(), 0);
    sandbox.write("raas.cfg", "[openshift]\npassword = hunter2\n");
    let shown = sandbox.ok(&["config", "show"]);
    assert!(shown.contains("[openshift]\npassword = ***") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_publication_is_backed_up_in_the_repository() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "# mine\n");
    let path = sandbox.write("app.tar", image("1.0"));
    let push = |more: &[&str]| {
        let arguments = [&["push", "acme", "tools/app", "--from", &path, "--json"], more].concat();
        let mut command = with_repository(&sandbox, &repository.url(), &arguments);
        command.env("GIT_COMMITTER_NAME", "Jane Doe").env("GIT_COMMITTER_EMAIL", "jane@example.com");
        let said = succeeded(&command.output().unwrap());
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    let skipped = push(&["--nocommit"]);
    assert_eq!((skipped["backed_up"].as_bool(), repository.commits("main")), (Some(false), 1));
    // The same push again publishes nothing, and makes the missing backup.
    let kept = push(&[]);
    assert_eq!((kept["changed"].as_bool(), kept["backed_up"].as_bool()), (Some(false), Some(true)));
    let log = repository.files("main").into_iter().find(|path| path.ends_with(".log")).unwrap();
    assert!(log.starts_with("acme/logs/20"), "{log}");
    assert_eq!(repository.files("main"), [log.as_str(), "acme/metadata/tools+app.json", "raas.cfg"]);
    let document =
        fs::read_to_string(sandbox.home().join("acme/checkout/crane/data/tools/app.json")).unwrap();
    assert_eq!(repository.show("main:acme/metadata/tools+app.json"), document);
    let line = repository.show(&format!("main:{log}"));
    let commit = kept["commit"].as_str().unwrap();
    for word in ["Z Jane Doe <jane@example.com>: Publish tools/app: 1.0", "tools/app:1.0@sha256:", commit] {
        assert!(line.contains(word), "`{word}` is not in {line}");
    }
    assert_eq!(line.lines().count(), 1);
    assert!(repository.show("main").contains("acme: Publish tools/app: 1.0"));
    push(&[]);
    assert_eq!(repository.commits("main"), 2);
    // An unpublished image is removed from the backup too.
    let unpublish = ["unpublish", "acme", "tools/app"];
    succeeded(&with_repository(&sandbox, &repository.url(), &unpublish).output().unwrap());
    assert_eq!(repository.files("main"), [log.as_str(), "raas.cfg"]);
    assert_eq!(repository.show(&format!("main:{log}")).lines().count(), 2);
    assert_eq!(left_behind(&sandbox), 0);
}

#[test]
fn a_document_that_is_changed_in_the_repository_publishes_nothing() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "# mine\n");
    let path = sandbox.write("app.tar", image("1.0"));
    let run = |arguments: &[&str]| {
        succeeded(&with_repository(&sandbox, &repository.url(), arguments).output().unwrap())
    };
    run(&["push", "acme", "app", "--from", &path]);
    let file = sandbox.home().join("acme/checkout/crane/data/app.json");
    let published = fs::read_to_string(&file).unwrap();
    let changed = published.replace("1.0", "9.9");
    assert_ne!(published, changed);
    repository.commit_file(&sandbox, "main", "acme/metadata/app.json", &changed);
    let commits = sandbox.commits("acme");
    for arguments in [&["setup", "acme"][..], &["gc", "acme"], &["setup", "acme", "--repair"]] {
        run(arguments);
        assert_eq!(
            (fs::read_to_string(&file).unwrap(), sandbox.commits("acme")),
            (published.clone(), commits)
        );
    }
    // The next publication of another image leaves this one alone too.
    run(&["push", "acme", "other", "--from", &path]);
    assert_eq!(fs::read_to_string(&file).unwrap(), published);
    let listed = run(&["list", "acme"]);
    assert!(listed.contains("1.0") && !listed.contains("9.9"), "{listed}");
}

#[test]
fn no_hook_of_a_repository_runs() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "# mine\n");
    let path = sandbox.write("app.tar", image("1.0"));
    sandbox.ok(&["setup", "acme"]);
    let (mark, record) = (sandbox.path("mark"), sandbox.home().join("acme/metadata.git"));
    // The record has hooks, and each clone gets them from git's template.
    let template = sandbox.path("template");
    for hooks in [record.join("hooks"), template.join("hooks")] {
        fs::create_dir_all(&hooks).unwrap();
        for name in [
            "reference-transaction",
            "post-checkout",
            "pre-commit",
            "post-commit",
            "pre-push",
            "pre-receive",
            "post-receive",
            "update",
            "post-update",
            "post-index-change",
            "post-merge",
            "pre-auto-gc",
        ] {
            fs::write(hooks.join(name), format!("#!/bin/sh\n: > '{}'\n", mark.display())).unwrap();
            fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    for arguments in [
        &["push", "acme", "app", "--from", &path][..],
        &["tag", "acme", "app:2.0", "app:1.0"],
        &["rollback", "acme", "app"],
        &["setup", "acme", "--repair"],
    ] {
        let mut command = with_repository(&sandbox, &repository.url(), arguments);
        succeeded(&command.env("GIT_TEMPLATE_DIR", &template).output().unwrap());
        assert!(!mark.exists(), "a hook ran: {arguments:?}");
    }
    assert_eq!(repository.commits("main"), 4, "each publication has a backup");
    // git itself would run them.
    let record = record.to_str().unwrap();
    let commit = git(&["--git-dir", record, "rev-list", "--all", "-n", "1"]);
    git(&["--git-dir", record, "update-ref", "refs/heads/control", commit.trim()]);
    assert!(mark.exists());
}

#[test]
fn an_empty_repository_can_hold_the_configuration() {
    let sandbox = Sandbox::new();
    let repository = Repository::empty(&sandbox);
    let path = sandbox.write("app.tar", image("1.0"));
    for name in ["one", "two"] {
        let push = ["push", "acme", name, "--from", &path];
        succeeded(&with_repository(&sandbox, &repository.url(), &push).output().unwrap());
    }
    let files = repository.files("main");
    for file in ["raas.cfg", "acme/metadata/one.json", "acme/metadata/two.json"] {
        assert!(files.contains(&file.to_owned()), "{files:?}");
    }
}

#[test]
fn setup_adds_a_vendor_to_the_configuration_and_changes_nothing_else() {
    let sandbox = Sandbox::new();
    let before = "# ours\n[redhat]\nlayer_url = https://cdn.example.com\n";
    let file = sandbox.write("raas.cfg", before);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let setup = ["setup", "acme", "--oodomain", "acme-registry"];
    let remembered = format!("{before}\n[acme]\nopenshift_domain = acme-registry\n");
    for _ in 0..2 {
        sandbox.ok(&setup);
        assert_eq!(fs::read_to_string(&file).unwrap(), remembered);
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let failure = sandbox.fails(2, &["setup", "acme", "--oodomain", "other"]);
    assert!(failure.contains("line 6") && failure.contains("acme-registry"), "{failure}");
    let failure = sandbox.fails(2, &["setup", "acme", "--s3bucket", "two\nlines"]);
    assert!(failure.contains("expected letters"), "{failure}");

    // A new repository, without any commit.
    let repository = Repository::empty(&sandbox);
    let mut command = with_repository(&sandbox, &repository.url(), &setup);
    assert!(succeeded(&command.output().unwrap()).contains("Remembered in raas.cfg of file://"));
    assert_eq!(repository.show("main:raas.cfg"), "[acme]\nopenshift_domain = acme-registry\n");

    // Setup creates a missing file.
    let other = Sandbox::new();
    other.ok(&setup);
    assert!(fs::read_to_string(other.path("raas.cfg")).unwrap().starts_with("[acme]\n"));
}

#[test]
fn a_repository_without_a_configuration_is_left_unchanged() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "");
    let work = sandbox.path("w");
    git(&["clone", "--quiet", &repository.url(), work.to_str().unwrap()]);
    git(&["-C", work.to_str().unwrap(), "mv", "raas.cfg", "README"]);
    git(&["-C", work.to_str().unwrap(), "commit", "--quiet", "-m", "x"]);
    git(&["-C", work.to_str().unwrap(), "push", "--quiet"]);
    let output = with_repository(&sandbox, &repository.url(), &["setup", "acme"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("has no raas.cfg"), "{said}");
}

/// Half of the pushes are for one vendor from two homes, so that they change the same vendor's folder. One push uses a
/// replacement of ssh.
#[test]
fn eight_concurrent_operators_lose_nothing() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "# shared\n");
    let ssh = like_ssh(&sandbox);
    let ssh_address = format!("git@conf.example.com:{}", repository.folder.display());
    let children: Vec<_> = (0..8)
        .map(|n| {
            let path = sandbox.write(&format!("{n}.tar"), image(&format!("t{n}")));
            let vendor = if n % 2 == 0 { "acme" } else { "bigdatainc" };
            let name = format!("app{n}");
            let address = if n == 7 { &ssh_address } else { &repository.url() };
            let mut command = with_repository(&sandbox, address, &["push", vendor, &name, "--from", &path]);
            command.env("RAAS_HOME", sandbox.path(&format!("home{}", n / 4))).env("GIT_SSH_COMMAND", &ssh);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let files = repository.files("main");
    let mut lines = String::new();
    for file in files.iter().filter(|file| file.ends_with(".log")) {
        lines.push_str(&repository.show(&format!("main:{file}")));
    }
    for n in 0..8 {
        let vendor = if n % 2 == 0 { "acme" } else { "bigdatainc" };
        assert!(files.contains(&format!("{vendor}/metadata/app{n}.json")), "{n}: {files:?}");
        assert_eq!(lines.matches(&format!("Publish app{n}: t{n}")).count(), 1, "{lines}");
    }
    assert_eq!((lines.lines().count(), repository.commits("main")), (8, 9));
}

/// A command that replaces ssh: it runs the remote command on this machine.
fn like_ssh(sandbox: &Sandbox) -> String {
    let script = "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n";
    let path = sandbox.write("ssh", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Another operator pushes before each of our first pushes.
#[test]
fn a_backup_that_loses_a_race_is_tried_again() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "# shared\n");
    let left = sandbox.path("left");
    // The remote command of ssh. It moves the branch before it accepts a push.
    let bare = format!("git --git-dir '{}'", repository.folder.display());
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\nn=$(cat '{left}')\ncase $last in git-receive-pack*)\nif [ $n -gt 0 ]; then\n\
         echo $((n - 1)) > '{left}'\nnew=$({bare} -c user.name=x -c user.email=x@x commit-tree -m other -p main main^{{tree}})\n\
         {bare} update-ref refs/heads/main $new\nfi\nesac\nexec sh -c \"$last\"\n",
        left = left.display()
    );
    let ssh = sandbox.write("racing", script);
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = sandbox.write("app.tar", image("1.0"));
    let address = format!("git@conf.example.com:{}", repository.folder.display());
    fs::write(&left, "3").unwrap();
    let mut command = with_repository(&sandbox, &address, &["push", "acme", "app", "--from", &path]);
    succeeded(&command.env("GIT_SSH_COMMAND", &ssh).output().unwrap());
    assert_eq!(repository.commits("main"), 1 + 3 + 1);
    assert!(repository.files("main").contains(&"acme/metadata/app.json".to_owned()));
}

#[test]
fn a_declined_backup_is_reported_and_the_image_is_published() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(&sandbox, "");
    let hook = repository.folder.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho 'no commits on Fridays' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let path = sandbox.write("app.tar", image("1.0"));
    let push = ["push", "acme", "app", "--from", &path];
    let output = with_repository(&sandbox, &repository.url(), &push).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    for word in ["the image is published, but not backed up", "no commits on Fridays", "rules or hooks"] {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
    assert_eq!(sandbox.commits("acme"), 1);
    fs::remove_file(&hook).unwrap();
    succeeded(&with_repository(&sandbox, &repository.url(), &push).output().unwrap());
    assert!(repository.files("main").contains(&"acme/metadata/app.json".to_owned()));
}

#[test]
fn a_silent_host_times_out_and_an_interrupted_run_leaves_nothing() {
    let sandbox = Sandbox::new();
    let ssh = sandbox.write("silent", "#!/bin/sh\nsleep 60\n");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let silent = |more: &[&str]| {
        let mut command =
            with_repository(&sandbox, "git@silent.example.com:conf", &[&["config", "show"], more].concat());
        command.env("GIT_SSH_COMMAND", &ssh).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let begun = Instant::now();
    let output = silent(&["--git-timeout", "1"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20) && said.contains("took longer than 1 s"), "{said}");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(left_behind(&sandbox), 0);

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let child = silent(&[]).spawn().unwrap();
        wait_for(|| left_behind(&sandbox) > 1);
        let mut folder =
            fs::read_dir(sandbox.home().join("_config")).unwrap().map(|entry| entry.unwrap().path());
        let folder = folder.find(|path| path.is_dir()).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        thread::sleep(Duration::from_millis(100));
        send(child.id(), signal);
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(code));
        assert_eq!(left_behind(&sandbox), 0);
    }

    // A killed run cannot clean up. The next run does.
    let mut child = silent(&[]).spawn().unwrap();
    wait_for(|| left_behind(&sandbox) > 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(left_behind(&sandbox) > 0);
    let repository = Repository::new(&sandbox, "");
    succeeded(&with_repository(&sandbox, &repository.url(), &["config", "check"]).output().unwrap());
    assert_eq!(left_behind(&sandbox), 0);
    end_orphans(&ssh);
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends the processes that the killed run left, which this test started. They are found by the path of the script.
fn end_orphans(script: &str) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(script) {
            let pid = entry.file_name().into_string().unwrap().parse().unwrap();
            // The process may have ended by itself.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
    assert!(Path::new(script).exists());
}

/// `ps` shows the arguments of every program to everybody.
#[test]
fn no_password_of_an_address_appears_in_the_process_list() {
    let sandbox = Sandbox::new();
    // A server that accepts the connection and sends nothing, so that the test can look at git's arguments.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://jane:hunter2@{}/x.git", silent.local_addr().unwrap());
    let mut command = sandbox.command(&["--git-timeout", "20", "config", "show"]);
    command.env("RAAS_CONF_REPO", &address).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _connection = silent.accept().unwrap();
    let mut seen = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(arguments) = std::fs::read(process.path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(&silent.local_addr().unwrap().to_string()) {
            seen += 1;
            assert!(!arguments.contains("hunter2"), "{arguments}");
        }
    }
    assert!(seen > 0, "git is running");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_key_of_a_cdn_is_checked_and_never_shown() {
    let sandbox = Sandbox::new();
    let config = |key: &str| {
        format!(
            "[acme]\ns3_bucket = bbb\naccess = cdn\ncdn_url = https://cdn.example.com\ncdn_cloudfront_key_id = K2\n\
             cdn_cloudfront_key = {key}\n[other]\ns3_bucket = ccc\naccess = cdn\ncdn_url = https://cdn.example.com\n\
             cdn_akamai_secret = abc123\n"
        )
    };
    sandbox.write("raas.cfg", config("key.pem"));
    let failure = sandbox.fails(2, &["config", "check"]);
    assert!(failure.contains("acme") && failure.contains("key.pem"), "{failure}");
    sandbox.write("key.pem", "-----BEGIN PRIVATE KEY-----");
    let failure = sandbox.fails(2, &["config", "check"]);
    assert!(failure.contains("not a PEM of an RSA key or of an ECDSA key"), "{failure}");
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../raas-server/tests/data/cloudfront-ec.pem");
    sandbox.write("raas.cfg", config(key));
    sandbox.ok(&["config", "check"]);
    let shown = sandbox.ok(&["config", "show"]);
    assert!(shown.contains("cdn_akamai_secret = ***") && !shown.contains("abc123"), "{shown}");
}

#[test]
fn no_filter_runs_for_files_of_the_configuration_repository() {
    let sandbox = Sandbox::new();
    let repository = Repository::empty(&sandbox);
    let work = sandbox.path("conf-work");
    git(&["clone", "--quiet", repository.folder.to_str().unwrap(), work.to_str().unwrap()]);
    fs::write(work.join(".gitattributes"), "* filter=evil\n").unwrap();
    fs::write(work.join("raas.cfg"), "[redhat]\nmetadata = ./operator\n").unwrap();
    fs::create_dir(work.join("operator")).unwrap();
    fs::write(work.join("operator/index.json"), "[]").unwrap();
    let work_text = work.to_str().unwrap();
    git(&["-C", work_text, "add", "."]);
    git(&["-C", work_text, "commit", "--quiet", "-m", "Configure"]);
    git(&["-C", work_text, "push", "--quiet", "origin", "HEAD:main"]);
    // The machine has a filter of that name, such as that of git-lfs.
    let ran = sandbox.path("ran");
    let filter = format!("[filter \"evil\"]\nsmudge = touch {}; cat\nrequired = true\n", ran.display());
    let settings = sandbox.write("gitconfig", filter);
    let mut command = with_repository(&sandbox, &repository.url(), &["config", "check"]);
    // The relative path leads to a file of the repository.
    succeeded(&command.env("GIT_CONFIG_GLOBAL", &settings).output().unwrap());
    assert!(!ran.exists());
}

#[test]
fn a_file_with_secrets_that_everybody_may_read_is_a_warning() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("raas.cfg", "[openshift]\npassword = hunter2\n");
    let warned = |mode: u32| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        sandbox.ok(&["config", "check"]).contains("every user of this machine may read")
    };
    assert!(warned(0o644) && !warned(0o640) && !warned(0o600));
    sandbox.write("raas.cfg", "[openshift]\nusername = operator\n");
    assert!(!warned(0o644), "there is no secret");
    sandbox.write("raas.cfg", "[acme]\ncdn_cloudfront_key = /etc/raas/key.pem\ncdn_cloudfront_key_id = K2\n");
    assert!(!warned(0o644), "the key is in another file");
}

#[test]
fn a_wrong_section_stops_no_command_and_no_server_of_another_vendor() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", image("1.0"));
    let good = "[acme]\nregistry_host = r.acme.example\n[bravo]\n";
    sandbox.write("raas.cfg", good);
    for vendor in ["acme", "bravo"] {
        sandbox.ok(&["push", vendor, "app", "--from", &path]);
    }
    sandbox.write("raas.cfg", format!("{good}foo_bar = 1\n"));
    sandbox.ok(&["list", "acme"]);
    sandbox.ok(&["push", "acme", "other", "--from", &path]);
    // A command about the vendor, or about all vendors, says which section is wrong.
    for arguments in [["list", "bravo"].as_slice(), &["list"], &["status"], &["config", "check"]] {
        let failure = sandbox.fails(2, arguments);
        assert!(
            failure.contains("raas.cfg, line 4: [bravo] has no key `foo_bar`"),
            "{arguments:?}: {failure}"
        );
    }
    for named in [[].as_slice(), &["acme", "bravo"]] {
        let log = sandbox.path("log");
        let server = sandbox.serve_logged(named, fs::File::create(&log).unwrap());
        let status = |host: &str| Client::of(server.address, host).get("/v2/app/manifests/1.0").status;
        assert_eq!(
            ["acme.localhost", "r.acme.example", "bravo.localhost", "r.bravo.example"].map(status),
            [200, 200, 503, 503]
        );
        let ready = String::from_utf8(Client::new(server.address).get("/-/readyz").body).unwrap();
        assert!(ready.contains("1 configured vendors cannot be served"), "{ready}");
        let log = fs::read_to_string(&log).unwrap();
        assert!(
            log.contains("cannot serve a vendor as it is configured") && log.contains("[bravo] has no key"),
            "{log}"
        );
    }
    let failure = sandbox.fails(2, &["serve", "bravo"]);
    assert!(failure.contains("[bravo] has no key `foo_bar`"), "{failure}");
    // Nobody publishes to a place that another section claims.
    let bucket = "s3_bucket = images\ns3_endpoint = http://127.0.0.1:9\n";
    sandbox.write("raas.cfg", format!("[new]\n{bucket}[newer]\n{bucket}[other]\n"));
    for vendor in ["new", "newer"] {
        let failure = sandbox.fails(2, &["push", vendor, "app", "--from", &path]);
        assert!(failure.contains("would overlap"), "{vendor}: {failure}");
    }
    sandbox.ok(&["push", "other", "app", "--from", &path]);
}
