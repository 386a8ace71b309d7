//! The promises of [`Platform`], as tests that every platform passes.

use std::cell::RefCell;

use raas_base::failure::Kind;
use raas_git::Repository;
use raas_types::VendorName;

use crate::{Delivery, Platform, Revision};

/// A platform under test, and what stands in for the world around it.
pub trait Stage {
    /// The platform under test.
    fn platform(&self) -> &dyn Platform;

    /// Lets the world do its part: people start the local server, a cluster's controllers start pods.
    fn start_servers(&self);

    /// Makes all servers serve a revision from now on.
    fn serve(&self, revision: &str);

    /// Whether [`Platform::ensure`] makes things, so that [`Platform::remove`] has something to remove.
    fn makes_things(&self) -> bool;

    /// Whether one server has all vendors of the platform, so that another vendor has it too.
    fn is_one_for_all_vendors(&self) -> bool {
        false
    }
}

/// Runs all promises, each on a stage of its own.
///
/// # Panics
/// A promise does not hold.
pub fn run<S: Stage>(stage: impl Fn() -> S) {
    observing_before_anything_is_set_up_finds_no_server(&stage());
    a_second_ensure_changes_nothing_and_gives_the_same_servers(&stage());
    a_second_delivery_changes_nothing(&stage());
    a_served_revision_is_awaited_and_another_one_is_an_error(&stage());
    what_was_made_is_removed_once(&stage());
}

fn vendor() -> VendorName {
    "bigdatainc".parse().expect("the name is valid")
}

fn quiet(_: &str) {}

fn observing_before_anything_is_set_up_finds_no_server(stage: &impl Stage) {
    assert!(!stage.platform().name().is_empty());
    assert_eq!(stage.platform().observe(&vendor()).unwrap(), []);
}

fn a_second_ensure_changes_nothing_and_gives_the_same_servers(stage: &impl Stage) {
    let platform = stage.platform();
    stage.start_servers();
    let first = platform.ensure(&vendor(), &quiet).unwrap();
    assert_eq!(first.changed, stage.makes_things(), "the first call makes what the platform makes");
    assert!(!first.servers.is_empty());
    assert_eq!(platform.observe(&vendor()).unwrap(), first.servers);
    let second = platform.ensure(&vendor(), &quiet).unwrap();
    assert!(!second.changed, "a second call changes nothing");
    assert_eq!(second.servers, first.servers);
    if !stage.is_one_for_all_vendors() {
        let others = platform.observe(&"other".parse().expect("valid")).unwrap();
        assert_eq!(others, [], "another vendor has none");
    }
}

fn a_second_delivery_changes_nothing(stage: &impl Stage) {
    let platform = stage.platform();
    stage.start_servers();
    platform.ensure(&vendor(), &quiet).unwrap();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let record = Repository::of_branch(folder.path().join("record.git"), "main");
    record.create().expect("git runs");
    let document = ("crane/data/app.json".to_owned(), Some(b"{}".to_vec()));
    record.commit(None, &[document], "Publish app").expect("git runs");
    let first = platform.deliver(&vendor(), &record, &quiet).unwrap();
    assert_ne!(first, Delivery::Unchanged, "nothing was delivered before");
    let second = platform.deliver(&vendor(), &record, &quiet).unwrap();
    match first {
        Delivery::Followed => assert_eq!(second, Delivery::Followed),
        _ => assert_eq!(second, Delivery::Unchanged),
    }
}

fn a_served_revision_is_awaited_and_another_one_is_an_error(stage: &impl Stage) {
    let platform = stage.platform();
    stage.start_servers();
    let servers = platform.ensure(&vendor(), &quiet).unwrap().servers;
    stage.serve("new");
    let said = RefCell::new(Vec::new());
    let say = |line: &str| said.borrow_mut().push(line.to_owned());
    let new = Revision { short: "new", is_served_by: &|served| served == "new" };
    platform.await_revision(&vendor(), &servers, &new, &say).unwrap();
    assert!(!said.take().is_empty(), "the platform says who serves it");
    let newest = Revision { short: "newest", is_served_by: &|served| served == "newest" };
    let failure = platform.await_revision(&vendor(), &servers, &newest, &quiet).unwrap_err();
    assert_eq!(failure.kind(), Kind::Environment);
    assert!(failure.message().contains("newest"), "{failure}");
    assert!(!failure.hints().is_empty(), "{failure}");
}

fn what_was_made_is_removed_once(stage: &impl Stage) {
    let platform = stage.platform();
    stage.start_servers();
    platform.ensure(&vendor(), &quiet).unwrap();
    let removed = platform.remove(&vendor(), &quiet).unwrap();
    assert_eq!(!removed.is_empty(), stage.makes_things(), "{removed:?}");
    assert_eq!(platform.remove(&vendor(), &quiet).unwrap(), Vec::<String>::new());
    if stage.makes_things() {
        assert_eq!(platform.observe(&vendor()).unwrap(), []);
    }
}
