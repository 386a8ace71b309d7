//! Answers that must be waited for: the content of a file or of a bucket, or the identity of a visitor.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Buf;
use hyper::Request;
use hyper::body::Body as _;
use hyper::header::CONTENT_LENGTH;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::super::respond_in_time;
use super::super::write_timeout::Plain;
use super::buffered::BufferedStream;
use super::head;
#[cfg(target_os = "linux")]
use super::send_file;
use crate::in_flight::ClientConnection;
use crate::response::Response;

/// Answers a plain request.
///
/// # Errors
/// The client went away or takes no bytes, or the content broke off. The connection cannot be used further.
pub(super) async fn answer<S: AsyncWrite + Plain + Unpin>(
    stream: &mut BufferedStream<S>,
    client: &Arc<ClientConnection>,
    request: Request<()>,
    now: Instant,
    is_stopping: &AtomicBool,
) -> io::Result<()> {
    let method = request.method().clone();
    let Response { status, headers, mut body } = respond_in_time(client, request, now).await;
    let length = body.size_hint().exact().filter(|_| headers.get(&CONTENT_LENGTH).is_none());
    let mut begin = Vec::with_capacity(1024);
    let is_last = is_stopping.load(Ordering::Acquire);
    head::write(&mut begin, &method, status, &headers, length, is_last, Instant::now());
    if !body.is_stream() {
        stream.write_all_buf(&mut Buf::chain(begin.as_slice(), body.take())).await?;
        return stream.flush().await;
    }
    stream.write_all(&begin).await?;
    drop(begin);
    #[cfg(target_os = "linux")]
    if let Some((socket, patience)) = stream.socket()
        && let Some(part) = body.take_file()
    {
        return send_file::send(socket, patience, &part, &client.progress, |bytes| body.count(bytes)).await;
    }
    while let Some(piece) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(piece) = piece?.into_data() {
            stream.write_all(&piece).await?;
        }
    }
    stream.flush().await
}
