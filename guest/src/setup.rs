//! All that is asked for before the workload starts, each told as it stands.

use crate::memcg::{self, Group};
use crate::port::Port;
use crate::{knobs, root, scratch, swap};
use mmtorture_protocol::{EventKind, Request};

/// A guest that was set up.
#[derive(Debug)]
pub struct Ready {
    /// Whether all is as it was asked for.
    pub as_asked: bool,
    /// What is swapped to.
    pub swap: Option<String>,
    /// The control group for the workload.
    pub group: Option<Group>,
}

/// Sets up.
pub fn all(request: &Request, port: &mut Port) -> Ready {
    let mut as_asked = true;
    let mut tell = |event: EventKind| {
        as_asked &= !matches!(event, EventKind::Knob { error: Some(_), .. });
        port.send(event);
    };
    // What is only looked at is what the kernel booted with: before anything is written.
    request.knobs.iter().filter(|knob| knob.write.is_none()).map(knobs::turn).for_each(&mut tell);
    scratch::make(&request.scratch).into_iter().for_each(&mut tell);
    request.root.map(root::mount).into_iter().for_each(&mut tell);
    let (event, swap) = swap::on(request.swap);
    event.into_iter().for_each(&mut tell);
    let (event, group) = memcg::make(request.memcg);
    event.into_iter().for_each(&mut tell);
    // One is what a kernel without NUMA has, too.
    if request.nodes != 1 {
        tell(knobs::nodes(request.nodes));
    }
    // Last, for some are files of the control group.
    request.knobs.iter().filter(|knob| knob.write.is_some()).map(knobs::turn).for_each(&mut tell);
    for repeat in &request.repeat {
        let value = &repeat.value;
        let error =
            knobs::write(&repeat.path, value).err().map(|e| format!("{} does not take {value:?}: {e}", repeat.path));
        tell(knobs::told(&repeat.dimension, &repeat.path, value, "", error));
    }
    Ready { as_asked, swap, group }
}
