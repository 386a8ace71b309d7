//! Pulp 2 docker exports, as `fixtures/make-pulp2-export.py` writes them.

use std::collections::BTreeMap;

use raas_types::Digest;
use serde_json::json;

use crate::Files;
use crate::layers::layer;

/// An id for a Docker v1 image. Equal seeds give equal ids.
pub fn id(seed: &str) -> String {
    Digest::of(seed.as_bytes()).hex()
}

/// A Docker v1 image, which need not fit the other images.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// The parent in its json.
    pub parent: Option<String>,
    /// The ids in its ancestry list, usually itself first. Without ids the image has no such file.
    pub ancestry: Vec<String>,
    /// Its layer.
    pub layer: Vec<u8>,
    /// Whether the archive lacks the files of the image.
    pub hole: bool,
}

/// A Pulp 2 docker export under construction.
#[derive(Debug, Clone)]
pub struct Export {
    /// Pulp's id of the repository.
    pub repository: String,
    /// The name that people pull.
    pub registry_id: String,
    /// The images, the base first.
    pub images: Vec<Image>,
    /// Each tag's image id.
    pub tags: BTreeMap<String, String>,
    /// The URL of the document. Images are served below it.
    pub url: String,
    /// Whether only users may see the repository.
    pub protected: bool,
}

impl Export {
    /// An export of a chain of images, each the parent of the next. The tag `latest` names the last image.
    pub fn chain(repository: &str, length: usize) -> Self {
        let mut export = Self::chain_without_lists(repository, length);
        let mut ancestry: Vec<String> = Vec::new();
        for image in &mut export.images {
            ancestry.insert(0, image.id.clone());
            image.ancestry.clone_from(&ancestry);
        }
        export
    }

    /// As [`chain`](Self::chain), without ancestry lists, which are most of a long chain's bytes.
    pub fn chain_without_lists(repository: &str, length: usize) -> Self {
        let mut images: Vec<Image> = Vec::new();
        for n in 0..length {
            let id = id(&format!("{repository} {n}"));
            images.push(Image {
                parent: images.last().map(|parent| parent.id.clone()),
                ancestry: Vec::new(),
                layer: layer(&[(&format!("opt/layer-{n}"), format!("layer {n}\n").as_bytes())]),
                hole: false,
                id,
            });
        }
        let tags = images.last().map(|top| ("latest".to_owned(), top.id.clone()));
        Self {
            repository: repository.to_owned(),
            registry_id: repository.to_owned(),
            images,
            tags: tags.into_iter().collect(),
            url: format!("https://pulp.example.com/pulp/docker/{repository}/"),
            protected: false,
        }
    }

    /// The id of an image, counted from the base.
    pub fn id(&self, n: usize) -> String {
        self.images[n].id.clone()
    }

    /// Tags an image, counted from the base.
    pub fn tag(&mut self, tag: &str, n: usize) -> &mut Self {
        self.tags.insert(tag.to_owned(), self.id(n));
        self
    }

    /// Omits the files of an image, counted from the base.
    pub fn hole(&mut self, n: usize) -> &mut Self {
        self.images[n].hole = true;
        self
    }

    /// Omits all ancestry lists.
    pub fn without_lists(&mut self) -> &mut Self {
        self.images.iter_mut().for_each(|image| image.ancestry.clear());
        self
    }

    /// Adds and tags an image on top of another, which is counted from the base.
    pub fn branch(&mut self, tag: &str, parent: usize) -> &mut Self {
        let id = id(&format!("{} {tag}", self.repository));
        let parent = &self.images[parent];
        let image = Image {
            parent: Some(parent.id.clone()),
            ancestry: match parent.ancestry.as_slice() {
                [] => Vec::new(),
                above => [std::slice::from_ref(&id), above].concat(),
            },
            layer: layer(&[("opt/branch", tag.as_bytes())]),
            hole: false,
            id: id.clone(),
        };
        self.images.push(image);
        self.tags.insert(tag.to_owned(), id);
        self
    }

    /// The name of an image's file in the archive.
    pub fn file(&self, n: usize, file: &str) -> String {
        format!("web/{}/{file}", self.images[n].id)
    }

    /// The files of the export, for a tar.
    pub fn files(&self) -> Files {
        let document = json!({
            "type": "pulp-docker-redirect", "version": 1, "repository": self.repository,
            "repo-registry-id": self.registry_id,
            "url": self.url, "protected": self.protected,
            "images": self.images.iter().rev().map(|image| json!({"id": image.id})).collect::<Vec<_>>(),
            "tags": self.tags,
        });
        let mut files = Files::new();
        files.set(format!("{}.json", self.repository), document.to_string());
        for (n, image) in self.images.iter().enumerate().filter(|(_, image)| !image.hole) {
            let mut facts = json!({
                "id": image.id, "created": format!("2014-10-24T12:{:02}:00Z", n % 60), "docker_version": "1.2.0",
                "architecture": "amd64", "os": "linux", "Size": image.layer.len(),
                "container_config": {"Cmd": ["/bin/sh", "-c", format!("#(nop) ADD layer {n}")]},
                "config": {"Cmd": ["/opt/run"], "Env": ["PATH=/usr/bin:/bin"]},
            });
            if let Some(parent) = &image.parent {
                facts["parent"] = parent.as_str().into();
            }
            if !image.ancestry.is_empty() {
                files.set(self.file(n, "ancestry"), json!(image.ancestry).to_string());
            }
            files
                .set(self.file(n, "json"), facts.to_string())
                .set(self.file(n, "layer"), image.layer.clone());
        }
        files
    }

    /// The export as a tar.
    pub fn tar(&self) -> Vec<u8> {
        self.files().tar()
    }
}
