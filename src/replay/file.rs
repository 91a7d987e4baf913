//! A log in files of a directory, as a server leaves them.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::binlog::event::{HEADER_BYTES, Header, MAGIC};
use crate::replay::feed::{Events, Log};
use crate::{Error, Result};

/// Files, in the order in which the server wrote them.
#[derive(Debug, Clone)]
pub struct Files(pub Vec<PathBuf>);

struct Reader {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, BufReader<File>)>,
}

#[async_trait]
impl Log for Files {
    async fn open(&self) -> Result<Box<dyn Events>> {
        Ok(Box::new(Reader {
            files: self.0.clone().into_iter(),
            open: None,
        }))
    }
}

#[async_trait]
impl Events for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.open.is_none() {
                let Some(path) = self.files.next() else {
                    return Ok(None);
                };
                let failed =
                    |e| Error::archive(format!("cannot read {}", path.display())).because(e);
                let mut file = BufReader::new(File::open(&path).await.map_err(failed)?);
                let mut magic = [0; MAGIC.len()];
                file.read_exact(&mut magic).await.map_err(failed)?;
                if magic != MAGIC {
                    let shown = path.display();
                    return Err(Error::archive(format!(
                        "{shown} is no binary log, or is encrypted"
                    )));
                }
                self.open = Some((path, file));
            }
            let Some((path, file)) = &mut self.open else {
                continue;
            };
            let failed = |e| Error::archive(format!("cannot read {}", path.display())).because(e);
            if file.fill_buf().await.map_err(failed)?.is_empty() {
                self.open = None;
                continue;
            }
            let mut bytes = vec![0; HEADER_BYTES];
            file.read_exact(&mut bytes).await.map_err(failed)?;
            let header = Header::parse(&bytes)
                .ok_or_else(|| Error::archive(format!("{} is damaged", path.display())))?;
            bytes.resize(header.size as usize, 0);
            file.read_exact(&mut bytes[HEADER_BYTES..])
                .await
                .map_err(failed)?;
            return Ok(Some(bytes.into()));
        }
    }
}
