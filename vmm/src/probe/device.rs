//! Opens the KVM device, or says why not.

use super::report::Absence;
use kvm_ioctls::Kvm;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The KVM device.
pub const DEVICE: &str = "/dev/kvm";

/// KVM_API_VERSION: what KVM_GET_API_VERSION answers, for good.
const API_VERSION: i32 = 12;

pub(super) fn open(path: &Path) -> Result<Kvm, Absence> {
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return Err(Absence::NoDevice) };
    let kvm = Kvm::new_with_path(name).map_err(|error| absence(error.errno(), path))?;
    match kvm.get_api_version() {
        API_VERSION => Ok(kvm),
        version => Err(Absence::WrongVersion { version }),
    }
}

fn absence(errno: i32, path: &Path) -> Absence {
    match errno {
        // A static /dev keeps the node without its driver: then it is ENODEV or ENXIO.
        libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENXIO => Absence::NoDevice,
        libc::EACCES | libc::EPERM => {
            let (gid, mode) = std::fs::metadata(path).map_or((0, 0), |m| (m.gid(), m.mode() & 0o7777));
            let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
            Absence::NoPermission { group: group_name(&groups, gid).unwrap_or_else(|| gid.to_string()), mode }
        }
        errno => Absence::OpenFails { errno },
    }
}

/// The name of a group in the text of /etc/group. Not by getgrgid(3): a static binary has no NSS.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
        (id.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_reasons() {
        let of = |errno| absence(errno, Path::new("/"));
        assert_eq!(of(libc::ENOENT), Absence::NoDevice);
        assert_eq!(of(libc::ENODEV), Absence::NoDevice);
        assert_eq!(of(libc::EMFILE), Absence::OpenFails { errno: libc::EMFILE });
        let Absence::NoPermission { mode, .. } = of(libc::EACCES) else { panic!("{:?}", of(libc::EACCES)) };
        assert_eq!(mode & 0o500, 0o500);
    }

    #[test]
    fn groups_are_found_by_number() {
        let groups = "root:x:0:\nnonsense\nkvm:x:104:someone,else\n";
        assert_eq!(group_name(groups, 104).as_deref(), Some("kvm"));
        assert_eq!(group_name(groups, 105), None);
    }
}
