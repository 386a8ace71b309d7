//! Bounds on what raas reads of a source, so that a hostile source costs no more than a large honest one.

/// Bounds on what raas reads of a source. The defaults are far above the largest known images and bound memory to tens
/// of megabytes. Tests set lower ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Members of an archive.
    pub members: usize,
    /// Bytes of all member names together. The index of an archive keeps them in memory.
    pub name_bytes: usize,
    /// Bytes of a JSON file that raas reads as a whole: indexes, configs, v1 json.
    pub json: u64,
    /// Bytes of one entry of a Pulp 3 resource file, which raas reads entry by entry.
    pub entry: u64,
    /// Bytes of all manifests of the image together, which raas keeps in memory.
    pub manifests: u64,
    /// Bytes of all configs, or of all v1 json files, together that raas reads to check an image. A file that several
    /// manifests or images name counts each time.
    pub configs: u64,
    /// Bytes of all manifests together that are read to learn what a source lists.
    pub listed: u64,
    /// Bytes that one layer may unpack to.
    pub unpacked_layer: u64,
    /// Bytes that a packed or streamed archive may take on disk while raas reads it.
    pub spool: u64,
    /// Links in a row from one member.
    pub links: usize,
    /// Levels of indexes within indexes.
    pub nesting: usize,
    /// Entries of one manifest: the layers of an image, or the manifests of an index.
    pub entries: usize,
    /// How often one index may list the same manifest. A few platforms may share an image.
    pub repeats: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        const GIB: u64 = 1024 * MIB;
        Self {
            members: 200_000,
            name_bytes: 24 * MIB as usize,
            json: 8 * MIB,
            entry: 8 * MIB,
            manifests: 32 * MIB,
            configs: GIB,
            listed: GIB,
            unpacked_layer: 64 * GIB,
            spool: 256 * GIB,
            links: 8,
            nesting: 8,
            entries: 10_000,
            repeats: 100,
        }
    }
}
