//! Pulls an image: asks a registry what it is made of, downloads what is not here, unpacks it in order, and gives it
//! its name last. A pull that fails leaves nothing but what a broken connection has brought so far.

use std::collections::BTreeMap;

use super::{
    Digest, Image, ImageError, ImagePrograms, LAYER_BYTES_MAX, Platform, Reference,
    ask::Registry,
    fetch::{Download, fetch_all},
    layer::{Source, chain_of, layer_make},
    manifest::{Configuration, Descriptor, Found, Manifest, Refused, configuration_read, manifest_read},
    registry::Credentials,
    shelf::{Shelf, now},
};
use crate::{
    layout::DataDir,
    pool::pool_space,
    progress::{Progress, ProgressEvent},
};

/// As often an index may lead to another one.
const INDEXES_MAX: usize = 2;

/// Pulls `reference`, and calls it that. What is here of it is not downloaded again. Each layer may unpack to
/// `bytes_max`, or to what the storage has room for.
///
/// # Errors
/// [`ImageError`].
pub fn image_pull(
    data: &DataDir,
    reference: &Reference,
    credentials: Option<&Credentials>,
    bytes_max: Option<u64>,
    programs: ImagePrograms,
    progress: &mut dyn Progress,
) -> Result<Image, ImageError> {
    let shelf = Shelf::open(data)?;
    let shared = shelf.lock_shared()?;
    let registry = Registry::new(reference, credentials, programs);
    let whole = resolve(&registry, reference)?;
    let name = reference.to_string();
    let mut made = Made { shelf: &shelf, name: &name, programs, progress, layers: Vec::new() };
    let bytes_max = room(data, bytes_max);
    let result = pull(&registry, &whole, bytes_max, &mut made);
    let layers = made.layers;
    if result.is_err() {
        drop(shared);
        let _ = shelf.layers_drop(&layers);
    } else {
        progress.report(ProgressEvent::Installed { toolchain: &name });
    }
    result
}

/// What a layer may unpack to: some of the room stays.
pub(super) fn room(data: &DataDir, bytes_max: Option<u64>) -> u64 {
    let free = pool_space(data).map_or(u64::MAX, |space| space.free_bytes / 8 * 7);
    free.min(bytes_max.unwrap_or(LAYER_BYTES_MAX))
}

/// What a pull or an import makes.
pub(super) struct Made<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) name: &'a str,
    pub(super) programs: ImagePrograms,
    pub(super) progress: &'a mut dyn Progress,
    /// The layers that it made.
    pub(super) layers: Vec<Digest>,
}

impl Made<'_> {
    /// Sees that a layer is here. Returns what it takes, and whether it hides those below.
    pub(super) fn layer(&mut self, chain: &Digest, source: &Source<'_>) -> Result<(u64, bool), ImageError> {
        if let Some(layer) = self.shelf.layer(chain) {
            if source.diff_id.is_some_and(|diff_id| *diff_id != layer.diff_id) {
                let why = "its content is not what the image's configuration says".to_owned();
                return Err(ImageError::Layer { layer: source.blob.clone(), why });
            }
            return Ok((layer.bytes, layer.hides_all));
        }
        let layer = layer_make(self.shelf, chain, source, self.programs, self.name, self.progress)?;
        self.layers.push(chain.clone());
        Ok((layer.bytes, layer.hides_all))
    }
}

/// What a registry says of an image.
struct Whole {
    digest: Digest,
    manifest: Manifest,
    configuration: Configuration,
}

fn resolve(registry: &Registry<'_>, reference: &Reference) -> Result<Whole, ImageError> {
    let (here, image) = (Platform::here(), reference.to_string());
    let refused = |refused: Refused| match refused {
        Refused::Why(why) => ImageError::Manifest { image: image.clone(), why },
        Refused::Platforms(there) => {
            ImageError::Platform { image: image.clone(), wanted: here.clone(), there }
        }
    };
    let mut bytes = registry.manifest(&reference.version())?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = reference.digest() {
        compare("the manifest", &digest, expected)?;
    }
    let mut indexes = 0;
    let manifest = loop {
        match manifest_read(&bytes, &here).map_err(refused)? {
            Found::Manifest(manifest) => break manifest,
            Found::Elsewhere(_) if indexes == INDEXES_MAX => {
                return Err(refused(Refused::Why("its lists of images lead nowhere".to_owned())));
            }
            Found::Elsewhere(descriptor) => {
                indexes += 1;
                bytes = registry.manifest(&descriptor.digest.to_string())?;
                compare("the manifest", &Digest::of(&bytes), &descriptor.digest)?;
            }
        }
    };
    let bytes = registry.blob_small(&manifest.config)?;
    compare("the configuration", &Digest::of(&bytes), &manifest.config.digest)?;
    let configuration = configuration_read(&bytes).map_err(|why| refused(Refused::Why(why)))?;
    if configuration.platform != here {
        return Err(refused(Refused::Platforms(vec![configuration.platform.to_string()])));
    }
    if configuration.diff_ids.len() != manifest.layers.len() {
        let why = "its manifest and its configuration have different numbers of layers";
        return Err(refused(Refused::Why(why.to_owned())));
    }
    Ok(Whole { digest, manifest, configuration })
}

fn compare(what: &str, found: &Digest, expected: &Digest) -> Result<(), ImageError> {
    if found == expected {
        return Ok(());
    }
    Err(ImageError::Digest { what: what.to_owned(), expected: expected.clone(), found: found.clone() })
}

fn pull(
    registry: &Registry<'_>,
    whole: &Whole,
    bytes_max: u64,
    made: &mut Made<'_>,
) -> Result<Image, ImageError> {
    let mut chains: Vec<Digest> = Vec::new();
    for layer in &whole.manifest.layers {
        chains.push(chain_of(chains.last(), &layer.digest));
    }
    let layers = || whole.manifest.layers.iter().zip(&chains);
    // In the order of their digests, each once: two pulls that wait for each other would wait for ever.
    let missing = layers().filter(|(_, chain)| made.shelf.layer(chain).is_none());
    let missing: BTreeMap<&Digest, &Descriptor> = missing.map(|(layer, _)| (&layer.digest, layer)).collect();
    let mut downloads = Vec::new();
    for blob in missing.into_values() {
        downloads.push(Download::take(made.shelf, blob, made.name, made.progress)?);
    }
    // Others may have made some meanwhile.
    let needed = |download: &Download| {
        layers()
            .any(|(layer, chain)| layer.digest == download.blob.digest && made.shelf.layer(chain).is_none())
    };
    let (mut needed, others): (Vec<_>, Vec<_>) = downloads.into_iter().partition(needed);
    others.into_iter().for_each(Download::discard);
    let result = fetch_all(registry, &mut needed, made.name, made.progress)
        .and_then(|()| layers_make(whole, &chains, &needed, bytes_max, made));
    let is_to_be_continued = matches!(result, Err(ImageError::Transport { .. }));
    needed.into_iter().for_each(if is_to_be_continued { Download::keep } else { Download::discard });
    result
}

fn layers_make(
    whole: &Whole,
    chains: &[Digest],
    downloads: &[Download],
    bytes_max: u64,
    made: &mut Made<'_>,
) -> Result<Image, ImageError> {
    let mut shown = Vec::new();
    let mut bytes = 0;
    let layers = whole.manifest.layers.iter().zip(chains).zip(&whole.configuration.diff_ids);
    for (index, ((layer, chain), diff_id)) in layers.enumerate() {
        let file = made.shelf.partial(&layer.digest);
        debug_assert!(made.shelf.layer(chain).is_some() || downloads.iter().any(|one| one.path == file));
        let source = Source {
            blob: &layer.digest,
            file: &file,
            diff_id: Some(diff_id),
            below: &chains[..index],
            bytes_max,
        };
        let (takes, hides_all) = made.layer(chain, &source)?;
        if hides_all {
            shown.clear();
            bytes = 0;
        }
        shown.push(chain.clone());
        bytes += takes;
    }
    let image = Image {
        name: made.name.to_owned(),
        digest: whole.digest.clone(),
        platform: whole.configuration.platform.clone(),
        config: whole.configuration.config.clone(),
        layers: shown,
        bytes,
        pulled_at: now(),
    };
    made.shelf.image_place(&image)?;
    Ok(image)
}
