//! Opening a source: recognising what it is by its content, and asking it for an image.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::chunks::Chunks;
use crate::bytes::{FileAt, ReadAt, Section, spool};
use crate::error::legible;
use crate::inflate::Coding;
use crate::tar_index::{SeekWalk, SpoolWalk, TarIndex};
use crate::tree::Tree;
use crate::{Image, ImageError, Limits, Wanted, docker_save, oci, pulp2, pulp3, source_name, v1};

/// Where a source comes from.
pub enum Input {
    /// A file or a folder.
    Path(PathBuf),
    /// A stream, with what to call it in messages: standard input, a download.
    Stream(String, Box<dyn Read + Send>),
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A Pulp 2 docker export: Crane document and v1 images.
    Pulp2,
    /// A Pulp 3 export.
    Pulp3,
    /// The oldest docker save: v1 images under `repositories`.
    DockerV1,
    /// docker save with `manifest.json`.
    DockerSave,
    /// An OCI image layout.
    Oci,
}

impl std::fmt::Display for SourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SourceKind::Pulp2 => "Pulp 2 docker export",
            SourceKind::Pulp3 => "Pulp 3 export",
            SourceKind::DockerV1 => "docker save archive (Docker v1 images)",
            SourceKind::DockerSave => "docker save archive",
            SourceKind::Oci => "OCI image layout",
        })
    }
}

impl SourceKind {
    /// The kind in one word, for scripts.
    pub fn word(self) -> &'static str {
        match self {
            SourceKind::Pulp2 => "pulp2",
            SourceKind::Pulp3 => "pulp3",
            SourceKind::DockerV1 => "docker-v1",
            SourceKind::DockerSave => "docker-save",
            SourceKind::Oci => "oci",
        }
    }
}

/// A recognised source.
pub struct Archive {
    what: String,
    kind: SourceKind,
    tree: Tree,
    limits: Limits,
}

/// Opens a source and recognises it by its content.
///
/// A packed or streamed archive is kept in a file without a name in `spool_folder` while it is read.
/// `progress` is called with the number of bytes of each step of what must be read through: a packed or streamed
/// archive, or the files of a table of contents.
///
/// # Errors
/// It cannot be read, is none of the formats, or breaks a rule of archives.
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
            Coding::Plain => {
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

    fn spooled(self, what: String, coding: Coding, packed: &mut dyn Read) -> Result<Archive, ImageError> {
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
        let kind = recognise(&tree, &what, &limits)?;
        Ok(Archive { what, kind, tree, limits })
    }
}

fn section(bytes: &Arc<dyn ReadAt>) -> Section {
    Section::new(bytes.clone(), 0, bytes.length())
}

/// The first block, or as much as there is.
fn first_bytes(stream: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    stream.take(512).read_to_end(&mut start)?;
    Ok(start)
}

fn sniff(start: &[u8], what: &str) -> Result<Coding, ImageError> {
    if start.is_empty() {
        return Err(ImageError::NotAnImage { what: what.to_owned(), found: "it is empty".into() });
    }
    Coding::sniff(start).map_err(|rule| ImageError::refused(what, rule))
}

/// Which format a tree is of, by the files that only that format has.
fn recognise(tree: &Tree, what: &str, limits: &Limits) -> Result<SourceKind, ImageError> {
    let has = |name: &str| tree.file(name, limits).map(|file| file.is_some());
    if has("oci-layout")? && has("index.json")? {
        // docker save writes an OCI layout too. Where its layers are plain tars they are better packed, which
        // makes new manifests; where they are packed, the manifests are published as they are.
        let saved = has("manifest.json")? && oci::has_plain_layers(tree, limits)?;
        return Ok(if saved { SourceKind::DockerSave } else { SourceKind::Oci });
    }
    if has("manifest.json")? {
        return Ok(SourceKind::DockerSave);
    }
    if has("repositories")? {
        return Ok(SourceKind::DockerV1);
    }
    if has("versions.json")? && tree.names("pulpcore.app.modelresource.").next().is_some() {
        return Ok(SourceKind::Pulp3);
    }
    if tree.names("web/").next().is_some() || pulp2::has_document(tree, limits) {
        return Ok(SourceKind::Pulp2);
    }
    let found = match tree {
        Tree::Folder(_) => "a folder without `oci-layout` and `index.json`".to_owned(),
        Tree::Tar { index, .. } if index.is_empty() => "an empty archive".to_owned(),
        Tree::Tar { .. } => {
            let some: Vec<&str> = tree.names("").take(3).collect();
            format!(
                "an archive ({}, …) that is neither a Pulp export, a docker save archive nor an OCI image layout",
                legible(&some.join(", "), 300)
            )
        }
    };
    Err(ImageError::NotAnImage { what: what.to_owned(), found })
}

impl Archive {
    /// The format.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// What it is called in messages.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The names of the repositories in it; none where the format names none.
    ///
    /// # Errors
    /// The metadata that says so breaks a rule.
    pub fn repositories(&self) -> Result<Vec<String>, ImageError> {
        let (tree, limits) = (&self.tree, &self.limits);
        let mut names = match self.kind {
            SourceKind::Pulp2 => pulp2::repositories(tree, limits)?,
            SourceKind::Pulp3 => pulp3::repositories(tree),
            SourceKind::DockerV1 => v1::saved_repositories(tree, limits)?,
            SourceKind::DockerSave => docker_save::repositories(tree, limits)?,
            SourceKind::Oci => oci::repositories(tree, limits)?,
        };
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The repository that a vendor's image is, by name: the one of that name, `<vendor>/<image>`,
    /// `<vendor>-<image>`, one that ends in `/<image>`, or the only one; `None` for a source that names none.
    ///
    /// # Errors
    /// Several could be meant, or `explicit` is not there.
    pub fn choose(
        &self,
        explicit: Option<&str>,
        vendor: &str,
        image: &str,
    ) -> Result<Option<String>, ImageError> {
        let names = self.repositories()?;
        let has = || {
            if names.is_empty() { "it names none".to_owned() } else { format!("it has {}", names.join(", ")) }
        };
        if let Some(explicit) = explicit {
            if names.iter().any(|name| name == explicit) {
                return Ok(Some(explicit.to_owned()));
            }
            return Err(ImageError::choice(format!(
                "{} has no repository `{explicit}`; {}",
                self.what,
                has()
            )));
        }
        match source_name::choose(&names, vendor, image) {
            Some(name) => Ok(Some(name.clone())),
            None if names.is_empty() => Ok(None),
            None => Err(ImageError::choice(format!(
                "{} has several repositories and none is called `{image}`: {}; name one with --repository",
                self.what,
                names.join(", ")
            ))),
        }
    }

    /// Reads and checks the metadata of what is wanted.
    ///
    /// # Errors
    /// It is not there, or breaks a rule.
    pub fn image(&self, wanted: &Wanted) -> Result<Image, ImageError> {
        let (tree, limits) = (&self.tree, &self.limits);
        Ok(match self.kind {
            SourceKind::Pulp2 => Image::V1(pulp2::image(tree, wanted, limits)?),
            SourceKind::DockerV1 => Image::V1(v1::saved_image(tree, wanted, limits)?),
            SourceKind::Pulp3 => Image::Manifests(pulp3::image(tree, wanted, limits)?),
            SourceKind::DockerSave => Image::Saved(docker_save::image(tree, wanted, limits)?),
            SourceKind::Oci => Image::Manifests(oci::image(tree, wanted, limits)?),
        })
    }
}
