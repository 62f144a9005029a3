//! The compiler and its tools.

use crate::error::{Error, Result};
use crate::matrix::source::Toolchain;
use crate::process;
use std::process::Command;

/// A toolchain that the host has.
#[derive(Debug, Clone)]
pub struct Tools {
    toolchain: Toolchain,
    /// Compiler and linker with their versions: part of a kernel's key.
    pub version: String,
    ccache: bool,
}

/// What `LLVM=1` takes besides the compiler and the linker (the kernel's Makefile).
const LLVM: [&str; 6] = ["llvm-ar", "llvm-nm", "llvm-objcopy", "llvm-objdump", "llvm-readelf", "llvm-strip"];

impl Tools {
    /// Looks for them.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn find(toolchain: Toolchain) -> Result<Self> {
        let version = |tool: &str| -> Result<String> {
            let mut command = Command::new(tool);
            command.arg("--version");
            Ok(process::output(command)?.lines().next().unwrap_or_default().to_owned())
        };
        version("make")?;
        let (compiler, linker) = match toolchain {
            Toolchain::Gcc => (version("gcc")?, version("ld")?),
            Toolchain::Clang => {
                let llvm = |tool: &str| {
                    version(tool).map_err(|_| {
                        Error::host(format!(
                            "kernel.toolchain clang: {tool} is not installed; `apt-get install clang lld llvm` installs all \
                             that it takes"
                        ))
                    })
                };
                for tool in LLVM {
                    llvm(tool)?;
                }
                (llvm("clang")?, llvm("ld.lld")?)
            }
        };
        Ok(Self { toolchain, version: format!("{compiler}; {linker}"), ccache: version("ccache").is_ok() })
    }

    /// Tells `make` to use them.
    pub fn choose(&self, make: &mut Command) {
        let compiler = match self.toolchain {
            Toolchain::Gcc => "gcc",
            Toolchain::Clang => {
                make.arg("LLVM=1");
                "clang"
            }
        };
        if self.ccache {
            make.arg(format!("CC=ccache {compiler}")).arg(format!("HOSTCC=ccache {compiler}"));
        }
    }

    /// A word that tells its work trees from another toolchain's; empty for the usual one.
    pub fn tag(&self) -> &'static str {
        match self.toolchain {
            Toolchain::Gcc => "",
            Toolchain::Clang => "-clang",
        }
    }
}
