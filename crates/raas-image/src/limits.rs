//! How much of a source raas is willing to read, so that a hostile one costs no more than a large honest one.

/// Bounds on what is read from a source. The defaults are far above every image seen and bound memory to tens of
/// megabytes; tests set them low.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Members of an archive.
    pub members: usize,
    /// Bytes of all member names together, which the index keeps in memory.
    pub name_bytes: usize,
    /// Bytes of a JSON file that is read as a whole: indexes, configs, v1 json.
    pub json: u64,
    /// Bytes of one entry of a Pulp 3 resource file, which is read entry by entry.
    pub entry: u64,
    /// Bytes of all manifests of the image together, which are kept in memory.
    pub manifests: u64,
    /// Bytes of all configs, or of all v1 json files, together that are read to check an image; one that several
    /// manifests or images name counts each time.
    pub configs: u64,
    /// Bytes that one layer may unpack to.
    pub unpacked_layer: u64,
    /// Bytes that a packed or streamed archive may take on disk while it is read.
    pub spool: u64,
    /// Links that one member may lead through.
    pub links: usize,
    /// Indexes within indexes.
    pub nesting: usize,
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
            unpacked_layer: 64 * GIB,
            spool: 256 * GIB,
            links: 8,
            nesting: 8,
        }
    }
}
