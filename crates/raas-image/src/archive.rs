//! Opening a source, and reading an image from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raas_types::{AtomicSignature, Digest, ImageId};

use crate::bytes::chunks::Chunks;
use crate::bytes::{FileAt, ReadAt, Section, spool};
use crate::descriptions::Contradiction;
use crate::inflate::{ArchiveCoding, Coding};
use crate::kind::SourceKind;
use crate::layout::signature_path;
use crate::platforms::Incomplete;
use crate::recognise::{Recognised, recognise};
use crate::select::{self, Catalogue};
use crate::tar_index::{SeekWalk, SpoolWalk, TarIndex};
use crate::tree::Tree;
use crate::{
    Image, ImageError, Limits, Rule, Selection, Store, Wanted, dir, docker_save, docker_v1, oci, pulp2, pulp3,
};

/// Where a source is read from.
pub enum Input {
    /// A file or a folder.
    Path(PathBuf),
    /// A stream, such as standard input or a download, with its name in messages.
    Stream(String, Box<dyn Read + Send>),
}

/// A recognised source.
pub struct Archive {
    what: String,
    kind: SourceKind,
    contradiction: Option<Contradiction>,
    tree: Tree,
    limits: Limits,
    notes: Vec<String>,
}

/// Opens a source and recognises its format by its content.
///
/// A packed or streamed archive is written to a file without a name in `spool_folder`. Such an archive, and the files
/// of a table of contents, are read to their end: `progress` gets the number of bytes of each step.
///
/// ```
/// use raas_image::{Input, Limits, Wanted, open};
/// use raas_testkit::oci::Layout;
///
/// let mut layout = Layout::new();
/// let image = layout.simple_image("content");
/// layout.tag(&image, "1.0");
/// let input = Input::Stream("an archive".into(), Box::new(std::io::Cursor::new(layout.tar())));
///
/// let archive = open(input, &std::env::temp_dir(), &Limits::default(), &mut |_| {})?;
/// assert_eq!(archive.kind().word(), "oci");
/// let image = archive.image(&Wanted::default())?;
/// assert_eq!(image.tags(), ["1.0".parse().unwrap()]);
/// # Ok::<(), raas_image::ImageError>(())
/// ```
///
/// # Errors
/// The source cannot be read, has none of the formats, or breaks a rule of archives.
pub fn open(
    input: Input,
    spool_folder: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<Archive, ImageError> {
    let opener = Opener { spool_folder, limits, progress };
    match input {
        Input::Stream(what, stream) => opener.stream(what, stream),
        Input::Path(path) => {
            let what = path.display().to_string();
            let found = fs::metadata(&path).map_err(ImageError::read(&what))?;
            if found.is_dir() {
                let tree = Tree::folder(&path).map_err(ImageError::read(&what))?;
                return opener.finish(what, tree);
            }
            if !found.is_file() {
                let stream = File::open(&path).map_err(ImageError::read(&what))?;
                return opener.stream(what, Box::new(stream));
            }
            opener.file(what, &path)
        }
    }
}

struct Opener<'a> {
    spool_folder: &'a Path,
    limits: &'a Limits,
    progress: &'a mut dyn FnMut(u64),
}

impl Opener<'_> {
    fn file(self, what: String, path: &Path) -> Result<Archive, ImageError> {
        if let Some(chunks) = Chunks::from_first(path)? {
            return self.chunks(what, &chunks);
        }
        let bytes = File::open(path).and_then(FileAt::new).map_err(ImageError::read(&what))?;
        let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
        if first_bytes(&mut section(&bytes)).map_err(ImageError::read(&what))?.starts_with(b"{") {
            let chunks = Chunks::from_toc(path)?;
            return self.chunks(what, &chunks);
        }
        self.seekable(what, bytes)
    }

    fn chunks(self, what: String, chunks: &Chunks) -> Result<Archive, ImageError> {
        chunks.verify(self.progress)?;
        self.seekable(what, Arc::new(chunks.open()?))
    }

    fn seekable(self, what: String, bytes: Arc<dyn ReadAt>) -> Result<Archive, ImageError> {
        let start = first_bytes(&mut section(&bytes)).map_err(ImageError::read(&what))?;
        match sniff(&start, &what)? {
            ArchiveCoding::Common(Coding::Plain) => {
                let index = TarIndex::build(&mut SeekWalk::new(bytes.clone()), &what, self.limits)?;
                self.finish(what, Tree::Tar { index, bytes })
            }
            coding => self.spooled(what, coding, &mut section(&bytes)),
        }
    }

    fn stream(self, what: String, mut stream: Box<dyn Read + Send>) -> Result<Archive, ImageError> {
        let start = first_bytes(&mut stream).map_err(ImageError::read(&what))?;
        let coding = sniff(&start, &what)?;
        self.spooled(what, coding, &mut io::Cursor::new(start).chain(stream))
    }

    fn spooled(
        self,
        what: String,
        coding: ArchiveCoding,
        packed: &mut dyn Read,
    ) -> Result<Archive, ImageError> {
        let temporary = || format!("the temporary copy of {what} in {}", self.spool_folder.display());
        let mut spool = spool::create(self.spool_folder)
            .map_err(|source| ImageError::Write { what: temporary(), source })?;
        let mut stream = coding.reader(packed, &what).map_err(ImageError::read(&what))?;
        let mut walk = SpoolWalk::new(&mut stream, &mut spool, &what, self.limits.spool, self.progress);
        let index = TarIndex::build(&mut walk, &what, self.limits)?;
        drop(stream);
        let bytes = FileAt::new(spool).map_err(ImageError::read(temporary()))?;
        self.finish(what, Tree::Tar { index, bytes: Arc::new(bytes) })
    }

    fn finish(self, what: String, tree: Tree) -> Result<Archive, ImageError> {
        let limits = self.limits.clone();
        let mut notes: Vec<String> = tree.notes().to_vec();
        let Recognised { kind, note, contradiction } =
            recognise(&tree, &what, &limits).map_err(|error| explained(error, &tree))?;
        notes.extend(note);
        Ok(Archive { what, kind, contradiction, tree, limits, notes })
    }
}

/// The error, with the cause of a missing file if that may be a truncated archive.
fn explained(error: ImageError, tree: &Tree) -> ImageError {
    const CAUSE: &str = "; the archive has no end mark, so it may be truncated";
    match error {
        ImageError::Refused { member, rule: Rule::Missing(why) } if tree.may_be_truncated() => {
            ImageError::refused(member, Rule::Missing(why + CAUSE))
        }
        ImageError::NotAnImage { what, found } if tree.may_be_truncated() => {
            ImageError::NotAnImage { what, found: found + CAUSE }
        }
        other => other,
    }
}

fn section(bytes: &Arc<dyn ReadAt>) -> Section {
    Section::new(bytes.clone(), 0, bytes.length())
}

/// The first block, or the whole stream if it is shorter.
fn first_bytes(stream: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    stream.take(512).read_to_end(&mut start)?;
    Ok(start)
}

fn sniff(start: &[u8], what: &str) -> Result<ArchiveCoding, ImageError> {
    if start.is_empty() {
        return Err(ImageError::NotAnImage { what: what.to_owned(), found: "it is empty".into() });
    }
    ArchiveCoding::sniff(start).map_err(|rule| ImageError::refused(what, rule))
}

/// An archive read as its format.
enum Format<'a> {
    Pulp2(pulp2::Export<'a>),
    Pulp3(pulp3::Export<'a>),
    DockerV1(docker_v1::Saved<'a>),
    DockerSave(docker_save::Saved<'a>),
    Oci(oci::Layout<'a>),
    Dir(dir::Directory<'a>),
}

impl Format<'_> {
    fn catalogue(&self) -> &dyn Catalogue {
        match self {
            Format::Pulp2(export) => export,
            Format::Pulp3(export) => export,
            Format::DockerV1(saved) => saved,
            Format::DockerSave(saved) => saved,
            Format::Oci(layout) => layout,
            Format::Dir(directory) => directory,
        }
    }
}

impl Archive {
    /// The format. If the archive has two descriptions of its images that contradict each other, this is the format of
    /// `index.json`, and [`Selection::kind`] tells which of them a choice is read from.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// The name of the source in messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The names of the repositories in the source; none if the format or the archive has no such names.
    ///
    /// # Errors
    /// The metadata with the names breaks a rule.
    pub fn repositories(&self) -> Result<Vec<String>, ImageError> {
        Ok(self.format(self.kind)?.catalogue().repositories()?.into_iter().flatten().collect())
    }

    /// The Docker v1 images in folders of their own, each with its parent. `docker save` has written them up to Docker 24,
    /// beside its newer description of the same image.
    ///
    /// # Errors
    /// The json of an image breaks a rule.
    pub fn v1_parents(&self) -> Result<BTreeMap<ImageId, Option<ImageId>>, ImageError> {
        docker_v1::parents(&self.tree, &self.limits)
    }

    /// Chooses what is wanted from all that the source lists, whether or not it can be published.
    ///
    /// # Errors
    /// The wanted image is not in the source, or more than one image could be meant. The message lists the choices.
    pub fn choose(&self, wanted: &Wanted) -> Result<Selection, ImageError> {
        let choose = || {
            let (kind, note) = match &self.contradiction {
                Some(contradiction) => contradiction.settle(&self.what, wanted)?,
                None => (self.kind, None),
            };
            let mut selection = select::choose(self.format(kind)?.catalogue(), kind, &self.what, wanted)?;
            selection.notes.splice(0..0, note);
            Ok(selection)
        };
        choose().map_err(|error| explained(error, &self.tree))
    }

    /// Reads and checks the metadata of the chosen images. `earlier` has manifests and blobs that the vendor has
    /// published before, for an incremental export that lacks them.
    ///
    /// # Errors
    /// The metadata breaks a rule.
    pub fn read(&self, selection: &Selection, earlier: Option<&dyn Store>) -> Result<Image, ImageError> {
        let image = self.read_as_format(selection, earlier).map_err(|error| match error {
            ImageError::Refused { member, rule: Rule::Missing(why) } if self.kind == SourceKind::Pulp3 => {
                let cause = "an incremental export lacks what an earlier one had";
                ImageError::refused(member, Rule::Missing(format!("{why}; {cause}")))
            }
            other => other,
        });
        let mut image = image.map_err(|error| explained(error, &self.tree))?;
        image.notes_mut().splice(0..0, self.notes.iter().cloned());
        Ok(image)
    }

    fn read_as_format(
        &self,
        selection: &Selection,
        earlier: Option<&dyn Store>,
    ) -> Result<Image, ImageError> {
        Ok(match self.format(selection.kind)? {
            Format::Pulp2(export) => Image::V1(export.read(selection)?),
            Format::DockerV1(saved) => Image::V1(saved.read(selection)?),
            Format::Pulp3(export) => Image::Manifests(export.read(selection, earlier)?),
            Format::DockerSave(saved) => Image::Saved(saved.read(selection)?),
            Format::Dir(directory) => Image::Manifests(directory.read(selection, earlier)?),
            Format::Oci(layout) => {
                // A layout of docker has both descriptions of an image.
                let is_dockers = self.tree.file(docker_save::LIST, &self.limits)?.is_some();
                let incomplete = if is_dockers { Incomplete::TakeTheOne } else { Incomplete::Refuse };
                Image::Manifests(layout.read(selection, incomplete, earlier)?)
            }
        })
    }

    /// The atomic signatures of these manifests: in a layout that a [`LayoutWriter`](crate::LayoutWriter) wrote, in a `dir:`
    /// folder of skopeo, and in an export of Pulp 3. The other formats have none.
    ///
    /// # Errors
    /// A signature cannot be read, or is none.
    pub fn signatures(
        &self,
        selection: &Selection,
        manifests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Vec<AtomicSignature>>, ImageError> {
        match self.format(selection.kind)? {
            Format::Pulp3(export) => export.signatures(selection, manifests),
            Format::Dir(directory) => {
                self.signature_files(manifests, |of, number| directory.signature_name(of, number))
            }
            Format::Oci(_) => self.signature_files(manifests, signature_path),
            Format::Pulp2(_) | Format::DockerV1(_) | Format::DockerSave(_) => Ok(BTreeMap::new()),
        }
    }

    /// Signatures in files with these names, which have numbers.
    fn signature_files(
        &self,
        manifests: &BTreeSet<Digest>,
        name: impl Fn(&Digest, usize) -> String,
    ) -> Result<BTreeMap<Digest, Vec<AtomicSignature>>, ImageError> {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for of in manifests {
            for number in 1..=AtomicSignature::MAX_COUNT {
                let Some(file) = self.tree.file(&name(of, number), &self.limits)? else { break };
                let bytes = file.read_all(AtomicSignature::MAX_SIZE as u64)?;
                // skopeo keeps signatures of other kinds in such files too. Source: containers/image, `signature.FromBlob`.
                if bytes.first() == Some(&0) {
                    continue;
                }
                let signature = AtomicSignature::of_bytes(of, &bytes)
                    .map_err(|error| ImageError::content(file.name(), error.to_string()))?;
                found.entry(*of).or_default().push(signature);
            }
        }
        Ok(found)
    }

    /// [`choose`](Self::choose) and [`read`](Self::read) in one step.
    ///
    /// # Errors
    /// As both.
    pub fn image(&self, wanted: &Wanted) -> Result<Image, ImageError> {
        self.read(&self.choose(wanted)?, None)
    }

    fn format(&self, kind: SourceKind) -> Result<Format<'_>, ImageError> {
        let (tree, limits) = (&self.tree, &self.limits);
        Ok(match kind {
            SourceKind::Pulp2 => Format::Pulp2(pulp2::Export::open(tree, limits)?),
            SourceKind::Pulp3 => Format::Pulp3(pulp3::Export::open(tree, limits)),
            SourceKind::DockerV1 => Format::DockerV1(docker_v1::Saved::open(tree, limits)?),
            SourceKind::DockerSave => Format::DockerSave(docker_save::Saved::open(tree, limits)?),
            SourceKind::Oci => Format::Oci(oci::Layout::open(tree, limits)?),
            SourceKind::Dir => Format::Dir(dir::Directory::open(tree, limits)?),
        })
    }
}
