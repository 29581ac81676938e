//! Replaces text in files, whatever their size.

use std::{collections::BTreeMap, fs::File, rc::Rc, sync::Arc};

use protocol::GuestPath;

use super::{
    super::types::{ReplaceFileContentItem, ReplaceFileContentResult},
    path_of,
    substitute::Substitution,
};
use crate::{
    agent::Agent,
    files::{Writing, file_open},
    http::{HttpError, Incoming, PIECE_BYTES, Query, Reply, empty, json, json_object, piece_read},
};

/// `POST /files/replace?verbose=`
pub(in crate::execd) async fn files_replace(
    agent: &Rc<Agent>,
    request: Incoming,
    query: &Query,
) -> Result<Reply, HttpError> {
    let is_verbose = query.parsed::<bool>("verbose")?.unwrap_or(false);
    let wanted: BTreeMap<String, ReplaceFileContentItem> = json_object(request).await?;
    if let Some((name, _)) = wanted.iter().find(|(_, item)| item.old.is_empty()) {
        return Err(HttpError::body(format!("replace in {name}: `old` is empty")));
    }
    let mut results = BTreeMap::new();
    for (name, item) in wanted {
        let replaced_count = file_replace(agent, path_of(&name)?, &item).await?;
        results.insert(name, ReplaceFileContentResult { replaced_count });
    }
    Ok(if is_verbose { json(&results) } else { empty() })
}

/// Replaces in one file and returns how often. A file without the text is not written.
async fn file_replace(
    agent: &Agent,
    path: GuestPath,
    item: &ReplaceFileContentItem,
) -> Result<u64, HttpError> {
    let source = path.clone();
    let (file, ..) = agent.files.run(move || file_open(&source)).await?;
    let file: Arc<File> = Arc::new(file);
    let mut writing = Writing::new(&agent.files, false, path, None);
    let mut substitution = Substitution::new(item.old.as_bytes(), item.new.as_bytes());
    let mut offset = 0;
    loop {
        let source = Arc::clone(&file);
        let piece = agent.files.run(move || piece_read(&source, offset, PIECE_BYTES)).await?;
        if piece.is_empty() {
            break;
        }
        offset += piece.len() as u64;
        substitution.push(&piece);
        loop {
            let portion = substitution.portion();
            if portion.is_empty() {
                break;
            }
            writing.push(&portion).await;
        }
    }
    writing.push(substitution.rest()).await;
    if substitution.count > 0 {
        writing.finish().await?;
    }
    Ok(substitution.count)
}
