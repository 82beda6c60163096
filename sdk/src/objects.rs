//! Objects: bytes under the name that proves them. Uploaded only where they are missing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes as Buffer;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hyper::Method;
use isos_base::api::ProblemCode;
use isos_base::guid::GuidHasher;
use isos_base::{Bytes, Guid};

use crate::call::{Call, Payload};
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{UPLOAD_CHUNK_BYTES, UPLOADS_AT_ONCE};

/// An object that may have to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub guid: Guid,
    /// Its length.
    pub size: Bytes,
    /// Where its bytes are.
    pub source: Source,
}

/// Where an object's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file, which must not change until it is uploaded.
    File(PathBuf),
    /// Here.
    Bytes(Buffer),
}

/// How far an upload of several objects is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UploadProgress {
    /// Objects that are there now.
    pub objects: usize,
    /// Of how many.
    pub objects_total: usize,
    /// Their bytes, sent now or known before.
    pub bytes: Bytes,
    /// Of how many.
    pub bytes_total: Bytes,
    /// Bytes that had to be sent.
    pub sent: Bytes,
}

impl Object {
    /// The object of these bytes.
    #[must_use]
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        let (guid, size) = (Guid::of(&bytes), Bytes(bytes.len() as u64));
        Self { guid, size, source: Source::Bytes(bytes.into()) }
    }

    /// The object of a file: reads and hashes all of it, so not for the threads of a runtime.
    ///
    /// # Errors
    /// [`ClientError::File`] when it cannot be read, or is no file.
    pub fn of_file(path: &Path) -> Result<Self, ClientError> {
        // Looked at before it is opened: opening a pipe waits for somebody to write to it.
        let metadata = path.metadata().map_err(ClientError::file("read", path))?;
        if !metadata.is_file() {
            let source = std::io::Error::other("it is no plain file");
            return Err(ClientError::File { action: "read", path: path.into(), source });
        }
        let mut file = File::open(path).map_err(ClientError::file("read", path))?;
        let mut hasher = GuidHasher::new();
        let mut chunk = vec![0; UPLOAD_CHUNK_BYTES];
        let mut size = 0;
        loop {
            let count = file.read(&mut chunk).map_err(ClientError::file("read", path))?;
            if count == 0 {
                break;
            }
            hasher.update(&chunk[..count]);
            size += count as u64;
        }
        let source = Source::File(path.into());
        Ok(Self { guid: hasher.finish(), size: Bytes(size), source })
    }
}

impl Client {
    /// Whether the complex has an object.
    pub async fn has_object(&self, guid: &Guid) -> Result<bool, ClientError> {
        let call = Call::with(Method::HEAD, object_path(guid), Payload::Empty);
        match self.line.send(&call).await {
            Ok(answer) => answer.bytes(0).await.map(|_| true),
            Err(error) if error.problem() == Some(ProblemCode::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Uploads a file, unless the complex has it. Reads it twice: once to name it, once to send it.
    ///
    /// # Errors
    /// [`ClientError::File`], [`ClientError::Changed`], and those of every call.
    pub async fn put_object(&self, path: impl Into<PathBuf>) -> Result<Object, ClientError> {
        let path = path.into();
        let object = tokio::task::spawn_blocking(move || Object::of_file(&path))
            .await
            .expect("hashing a file does not panic")?;
        self.upload(&object).await?;
        Ok(object)
    }

    /// Uploads an object, unless the complex has it. Whether it had to be sent.
    pub async fn upload(&self, object: &Object) -> Result<bool, ClientError> {
        if self.has_object(&object.guid).await? {
            return Ok(false);
        }
        let payload = match &object.source {
            Source::File(path) => Payload::File { path: path.clone(), size: object.size.0 },
            Source::Bytes(bytes) => Payload::Bytes(bytes.clone()),
        };
        let call = Call::with(Method::PUT, object_path(&object.guid), payload);
        match (self.line.send(&call).await, &object.source) {
            (Ok(answer), _) => answer.bytes(crate::limits::JSON_BYTES_MAX).await.map(|_| true),
            // Our own hash was right a moment ago.
            (Err(error), Source::File(path))
                if error.problem() == Some(ProblemCode::Verification) =>
            {
                Err(ClientError::Changed { path: path.clone() })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Uploads what the complex does not have of `objects`, several at once, and says how far it is
    /// after each.
    ///
    /// # Errors
    /// The first that any upload gives; what was uploaded before stays.
    pub async fn upload_all(
        &self,
        objects: &[Object],
        mut progress: impl FnMut(UploadProgress),
    ) -> Result<UploadProgress, ClientError> {
        let total: u64 = objects.iter().map(|object| object.size.0).sum();
        let mut now = UploadProgress {
            objects_total: objects.len(),
            bytes_total: Bytes(total),
            ..UploadProgress::default()
        };
        progress(now);
        let mut uploads = stream::iter(objects)
            .map(|object| async move { self.upload(object).await.map(|sent| (object, sent)) })
            .buffer_unordered(UPLOADS_AT_ONCE);
        while let Some((object, sent)) = uploads.try_next().await? {
            now.objects += 1;
            now.bytes += object.size;
            if sent {
                now.sent += object.size;
            }
            progress(now);
        }
        Ok(now)
    }

    /// An object of at most `max` bytes, checked against its name.
    ///
    /// # Errors
    /// [`ClientError::Verification`] for other bytes.
    pub async fn get_object(&self, guid: &Guid, max: Bytes) -> Result<Buffer, ClientError> {
        let answer = self.line.send(&Call::get(object_path(guid))).await?;
        let bytes = answer.bytes(max.as_usize()).await?;
        if Guid::of(&bytes) == *guid {
            Ok(bytes)
        } else {
            Err(ClientError::Verification { what: format!("object {guid}") })
        }
    }
}

fn object_path(guid: &Guid) -> String {
    format!("/v1/objects/{guid}")
}
