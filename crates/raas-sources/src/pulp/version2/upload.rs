//! Uploads of docker save archives to Pulp 2.

use std::io::Read;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_http::http::Method;
use raas_types::ImageId;
use serde::Deserialize;
use serde_json::json;

use super::task::{self, CallReport};
use super::{Pulp2, Pulp2Repository, ROOT, WEB};
use crate::registry::{JSON, Payload, RegistryError, Repeat, Request, escaped};

/// The bytes of one request.
const PART: usize = 1024 * 1024;

#[derive(Deserialize)]
struct UploadCreated {
    upload_id: String,
}

/// An upload request of Pulp. Dropping this value removes it.
struct Upload<'a> {
    server: &'a Pulp2,
    id: String,
}

impl Pulp2Repository {
    /// Uploads a docker save archive, and publishes it. Pulp leaves out the image `mask` and all its ancestors. `passed`
    /// gets the number of bytes of each step.
    ///
    /// # Errors
    /// The archive cannot be read, or the server does not take it.
    pub fn upload(
        &self,
        archive: &mut dyn Read,
        mask: Option<&ImageId>,
        passed: &dyn Fn(u64),
    ) -> Result<(), Failure> {
        let web = self.distributor(WEB)?;
        let what = format!("the upload to {}", self.id);
        let begun: UploadCreated = self.server.send(&Method::POST, "content/uploads/", &json!({}), &what)?;
        let upload = Upload { server: &self.server, id: begun.upload_id };
        upload.send(archive, &what, passed)?;
        let import = json!({
            "upload_id": upload.id, "unit_type_id": "docker_image", "unit_key": {}, "unit_metadata": {},
            "override_config": mask.map_or_else(|| json!({}), |mask| json!({"mask_id": mask})),
        });
        let resource = format!("repositories/{}/actions/import_upload/", escaped(&self.id));
        let report: CallReport = self.server.send(&Method::POST, &resource, &import, &what)?;
        task::follow(&self.server, report, &what)?;
        drop(upload);
        self.publish(&web.id, json!({}), &format!("the publication of {}", self.id))
    }
}

impl Upload<'_> {
    fn send(&self, archive: &mut dyn Read, what: &str, passed: &dyn Fn(u64)) -> Result<(), Failure> {
        let (mut part, mut offset) = (Vec::with_capacity(PART), 0_u64);
        loop {
            part.clear();
            let read = archive.take(PART as u64).read_to_end(&mut part);
            read.context(|| "cannot read the archive".into())?;
            if part.is_empty() {
                return if offset > 0 {
                    Ok(())
                } else {
                    Err(Failure::new(Kind::Refused, "the archive is empty"))
                };
            }
            let path = format!("{ROOT}/content/uploads/{}/{offset}/", escaped(&self.id));
            let payload = Payload { media_type: "application/octet-stream", bytes: &part, range: None };
            let put =
                Request { method: &Method::PUT, payload: Some(payload), ..Request::get(&path, JSON, what) };
            // The offset is a part of the address, so the same bytes may come twice.
            self.server.connection.change(&put, Repeat::Safe)?;
            offset += part.len() as u64;
            passed(part.len() as u64);
        }
    }

    fn remove(&self) -> Result<(), RegistryError> {
        let path = format!("{ROOT}/content/uploads/{}/", escaped(&self.id));
        let request =
            Request { method: &Method::DELETE, ..Request::get(&path, JSON, "the removal of the upload") };
        self.server.connection.change(&request, Repeat::Safe).map(drop)
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.remove().is_err() {
            let note = format!("Note: the Pulp server {} keeps the upload {}", self.server.host(), self.id);
            self.server.say.line(&note);
        }
    }
}
