//! Reading a masked layer from where the operator serves it.

use std::io::Write;
use std::path::Path;

use raas_image::Content;

use super::Progress;
use crate::failure::{Failure, Kind};
use crate::http;

/// The content of a URL, in a file without a name that is gone when it is closed.
pub(super) fn fetch(url: &str, spool: &Path, progress: &Progress) -> Result<Content, Failure> {
    let shown = http::without_credentials(url);
    progress.say(&format!("Reading {shown}, which the source does not have"));
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(Kind::Environment, format!("cannot read {shown}, where a masked layer should be served"))
            .caused_by(error)
            .hint("the layer is not in the source, and raas must know its digest and size to publish it: correct \
                   `layer_url` or `metadata` in raas.cfg, or push a source that has the layer")
    };
    let response = http::agent().get(url).call().map_err(|error| failed(error.into()))?;
    let bar = progress.layer("masked", response.body().content_length().unwrap_or(0));
    let mut file = tempfile::tempfile_in(spool).map_err(|error| failed(error.into()))?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = std::io::Read::read(&mut body, &mut buffer).map_err(|error| failed(error.into()))?;
        if got == 0 {
            break;
        }
        file.write_all(&buffer[..got]).map_err(|error| failed(error.into()))?;
        bar.advance(got as u64);
    }
    bar.done();
    Content::file(&shown, file).map_err(|error| failed(error.into()))
}
