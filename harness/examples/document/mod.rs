//! Documents with a part that is made.

use anyhow::Context as _;
use mmtorture_harness::series::Patch;
use std::process::ExitCode;

/// Puts what was made in the place of all that is below the line `mark` in the file `document`; or says what is wrong.
pub fn remake(document: &str, mark: &str, made: anyhow::Result<String>) -> ExitCode {
    let written = made.and_then(|made| {
        let text = std::fs::read_to_string(document).with_context(|| format!("cannot read {document}"))?;
        let (above, _) =
            text.split_once(mark).with_context(|| format!("{document}: expected a line {}", mark.trim()))?;
        std::fs::write(document, format!("{above}{mark}\n{made}")).with_context(|| format!("cannot write {document}"))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// What a table calls a patch: its file's name without the number.
pub fn name(patch: &Patch) -> &str {
    patch.stem.split_once('-').map_or(&*patch.stem, |(_, name)| name)
}
