//! Reading a masked layer from where the operator serves it.

use std::io::Write;
use std::path::Path;

use raas_image::Content;

use super::Progress;
use raas_base::failure::{Failure, Kind};
use raas_base::redact;
use raas_sources::http;

/// The longest layer, in bytes: what `raas-image` unpacks of one at most.
const MAX_SIZE: u64 = 64 * 1024 * 1024 * 1024;

/// The content of a URL, in a file without a name that is gone when it is closed.
pub(super) fn fetch(url: &str, spool: &Path, progress: &Progress) -> Result<Content, Failure> {
    let shown = redact::url(url);
    progress.say(&format!("Reading {shown}, which the source does not have"));
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(Kind::Environment, format!("cannot read {shown}, where a masked layer should be served"))
            .caused_by(error)
            .hint("the layer is not in the source, and raas must know its digest and size to publish it: correct \
                   `layer_url` or `metadata` in raas.cfg, or push a source that has the layer")
    };
    let (mut body, length) = http::download(url).map_err(|error| failed(error.into()))?;
    let bar = progress.layer("masked", length.unwrap_or(0));
    let mut file = tempfile::tempfile_in(spool).map_err(|error| failed(error.into()))?;
    let mut total = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = std::io::Read::read(&mut body, &mut buffer).map_err(|error| failed(error.into()))?;
        if got == 0 {
            break;
        }
        total += got as u64;
        if total > MAX_SIZE {
            return Err(failed(format!("it has more than {MAX_SIZE} bytes").into()));
        }
        file.write_all(&buffer[..got]).map_err(|error| failed(error.into()))?;
        bar.advance(got as u64);
    }
    bar.done();
    Content::file(&shown, file).map_err(|error| failed(error.into()))
}
