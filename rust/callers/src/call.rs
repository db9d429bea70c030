//! One call of the API itself on an array, with what must stand before it and nothing behind: what the call returns and
//! leaves is the result. The callers' loops are in their own files.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::{Error, Result, Slot};

use crate::env::{Counted, Env, World};
use crate::ports::compact::compact;
use crate::result::{CallerResult, Ret};

/// Which API is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// One single-page request for each NULL slot, up to the first that fails. Returns the pages got.
    Single,
    /// The call that fills NULL slots, on the whole array.
    V1,
    /// The call that only writes, on what is left behind the pages, which are compacted first.
    V2,
    /// The refill call of 14 April 2025.
    V3,
}

impl Call {
    pub const ALL: [Call; 4] = [Call::Single, Call::V1, Call::V2, Call::V3];

    pub const fn name(self) -> &'static str {
        match self {
            Call::Single => "single",
            Call::V1 => "v1",
            Call::V2 => "v2",
            Call::V3 => "v3",
        }
    }

    /// The call of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn parse(name: &str) -> Result<Call> {
        Call::ALL.into_iter().find(|call| call.name() == name).ok_or_else(|| unknown(name))
    }
}

#[cold]
fn unknown(name: &str) -> Error {
    Error::invalid(format!("api {name:?} is not one of {}", Call::ALL.map(Call::name).join(", ")))
}

/// Makes the call with `GFP_KERNEL`, observed.
///
/// # Errors
///
/// For more slots than an `int` counts.
pub fn run<W: Counted>(env: &mut Env<'_, W>, slots: &[Slot], call: Call) -> Result<CallerResult> {
    env.check_int("nr_pages", slots.len())?;
    let gfp = Gfp::KERNEL;
    let ret = match call {
        Call::Single => single(env, slots, gfp)? as i32,
        Call::V1 => env.alloc_pages_bulk_v1(gfp, slots)?.get() as i32,
        Call::V2 => {
            // Whoever has an empty array knows it.
            let empty = slots.iter().all(|slot| slot.raw() == 0);
            let filled = if empty { 0 } else { compact(&mut env.cx, slots) };
            env.alloc_pages_bulk_v2(gfp, slots, filled)?.get() as i32
        }
        Call::V3 => env.alloc_pages_bulk_refill(gfp, slots)?.errno(),
    };
    Ok(env.report(Ret::Errno(ret), None))
}

fn single<W: World>(env: &mut Env<'_, W>, slots: &[Slot], gfp: Gfp) -> Result<usize> {
    let mut got = 0;
    for (i, slot) in slots.iter().enumerate() {
        if slot.test(&mut env.cx, i) {
            continue;
        }
        let Some(page) = env.machine.alloc_pages(&mut env.cx, gfp, 0, None)? else { break };
        slot.write(&mut env.cx, i, page);
        got += 1;
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Counting;
    use crate::env::NoHooks;
    use crate::holes::Shape;
    use bulkpages_core::Ctx;
    use bulkpages_core::Machine;
    use bulkpages_core::boot::BootSpec;
    use bulkpages_core::fault::FaultPlan;
    use bulkpages_core::probe::NoProbe;
    use bulkpages_core::sync::Local;
    use core::sync::atomic::AtomicI64;

    /// Two pages can be had for P.PP..P.: what each call says and what it leaves.
    #[test]
    fn each_call_returns_what_its_contract_says() {
        for (call, ret, left) in [(Call::Single, 2, 6), (Call::V1, 5, 6), (Call::V2, 2, 6), (Call::V3, -11, 6)] {
            let machine = Machine::<Local>::boot(&BootSpec::new(16384, 1, 1)).unwrap();
            let slots = Shape::parse("x.xx..x.").unwrap().fill(&machine, 0).unwrap();
            let plan = FaultPlan { pages: Some(AtomicI64::new(2)), ..FaultPlan::default() };
            let cx = Ctx { cpu: 0, probe: Counting::new(NoProbe), fault: &plan };
            let mut env = Env::new(&machine, cx, NoHooks).unwrap();
            let result = run(&mut env, &slots, call).unwrap();
            let filled = slots.iter().filter(|slot| slot.raw() != 0).count();
            assert_eq!((result.ret, filled), (Ret::Errno(ret), left), "{call:?}");
        }
        assert!(Call::parse("v4").is_err());
    }
}
