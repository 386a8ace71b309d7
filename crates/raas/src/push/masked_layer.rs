//! Downloading a masked layer from its location, if the source does not have it.

use std::io::Write;
use std::path::Path;

use raas_image::Content;

use crate::progress::Progress;
use raas_base::failure::{Failure, Kind};
use raas_base::redact;
use raas_sources::http;

/// The largest layer, in bytes: the limit of `raas-image` for an unpacked layer.
const MAX_SIZE: u64 = 64 * 1024 * 1024 * 1024;

/// Downloads a URL into a file without a name in the folder `spool`. The system removes the file when it is closed.
pub(super) fn download(url: &str, spool: &Path, progress: &Progress) -> Result<Content, Failure> {
    let shown = redact::url(url);
    progress.say(&format!("Downloading the masked layer {shown}, since the source does not have it"));
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(Kind::Environment, format!("cannot download the masked layer {shown}"))
            .caused_by(error)
            .hint(
                "correct `layer_url` or `metadata` in raas.cfg, or push a source that has the layer: raas needs its digest \
                 and size",
            )
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
            return Err(failed(format!("the layer is larger than {MAX_SIZE} bytes").into()));
        }
        file.write_all(&buffer[..got]).map_err(|error| failed(error.into()))?;
        bar.advance(got as u64);
    }
    bar.done();
    Content::file(&shown, file).map_err(|error| failed(error.into()))
}
