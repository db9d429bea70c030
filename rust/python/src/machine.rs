//! `Machine`: the emulated machine behind the Python face.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::era::Era;
use bulkpages_core::probe::NoProbe;
use bulkpages_core::reclaim::ReclaimModel;
use bulkpages_core::replay::{Api, Replay};
use bulkpages_core::saved::Saved;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_core::{Ctx, Machine as CoreMachine, Pfn, Slot};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::args::{Array, Flags, Int};
use crate::era::rules_of;
use crate::errors::{ApiMisuse, SnapshotError, invalid, to_py};
use crate::faults::{self, FaultStack};
use crate::page_pool::PoolIds;
use crate::trace::Tracer;

/// Slots from which on a bulk call gives up the interpreter lock: below, switching costs more than the call.
const DETACH_SLOTS: usize = 1024;

/// The machine itself: calls of several threads take turns on the first kind and run in parallel on the second.
#[derive(Debug)]
pub(crate) enum Inner {
    Serial(Mutex<CoreMachine<Local>>),
    Parallel(CoreMachine<Atomic>),
}

/// A machine. Made by `bulkpages.Machine`, which documents it.
#[pyclass(frozen, subclass, module = "bulkpages._core")]
#[derive(Debug)]
pub struct Machine {
    pub(crate) inner: Inner,
    pub(crate) faults: FaultStack,
    pub(crate) tracer: Tracer,
    pub(crate) replay: Mutex<Option<Box<Replay>>>,
    pub(crate) pool_ids: PoolIds,
    cpus: usize,
    nodes: usize,
    zones: usize,
}

/// Evaluates an expression for the machine of either kind.
macro_rules! with {
    ($self:expr, |$m:ident| $body:expr) => {
        match &$self.inner {
            $crate::machine::Inner::Serial(machine) => {
                let $m = &*$crate::machine::turn(machine);
                $body
            }
            $crate::machine::Inner::Parallel(machine) => {
                let $m = machine;
                $body
            }
        }
    };
}
pub(crate) use with;

/// Evaluates an expression with the context of a call on `cpu`: plain, or with the fault plan in force.
macro_rules! with_ctx {
    ($self:expr, $cpu:expr, |$m:ident, $cx:ident| $body:expr) => {
        if $self.tracer.on() {
            let plan = $self.faults.innermost().unwrap_or_default();
            with!($self, |$m| {
                let mut context = Ctx { cpu: $cpu, probe: Vec::new(), fault: &plan.fault };
                let $cx = &mut context;
                let result = $body;
                $self.tracer.note(context.cpu, &context.probe);
                result
            })
        } else {
            match $self.faults.innermost() {
                None => with!($self, |$m| {
                    let $cx = &mut Ctx::on($cpu);
                    $body
                }),
                Some(plan) => with!($self, |$m| {
                    let $cx = &mut Ctx { cpu: $cpu, probe: NoProbe, fault: &plan.fault };
                    $body
                }),
            }
        }
    };
}
pub(crate) use with_ctx;

/// Waits for one's turn. Nobody holds a turn while waiting for the interpreter, so this cannot deadlock.
pub(crate) fn turn(machine: &Mutex<CoreMachine<Local>>) -> MutexGuard<'_, CoreMachine<Local>> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> PyResult<T> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
        .map_err(|e| SnapshotError::new_err(format!("at {}: {}", e.path(), e.inner())))
}

/// The version of the bulk call that a name means.
pub(crate) fn bulk_api(name: &str) -> PyResult<Api> {
    match name {
        "v1" => Ok(Api::V1),
        "v2" => Ok(Api::V2),
        other => Err(invalid(format!("api {other:?} is neither \"v1\" nor \"v2\""))),
    }
}

impl Machine {
    fn from_inner(inner: Inner) -> Machine {
        let (cpus, nodes, zones) = match &inner {
            Inner::Serial(m) => {
                let m = turn(m);
                (m.cpus(), m.nodes(), m.zones().len())
            }
            Inner::Parallel(m) => (m.cpus(), m.nodes(), m.zones().len()),
        };
        Machine {
            inner,
            faults: FaultStack::default(),
            replay: Mutex::new(None),
            pool_ids: PoolIds::default(),
            tracer: Tracer::default(),
            cpus,
            nodes,
            zones,
        }
    }

    pub(crate) fn cpu(&self, cpu: Option<Int>) -> PyResult<usize> {
        cpu.map_or(Ok(0), |cpu| cpu.below("cpu", self.cpus))
    }

    /// Refuses to free a page that a page_pool counts as its own. Asked only while there are pools.
    #[inline]
    pub(crate) fn not_in_a_pool(&self, pfn: Pfn) -> PyResult<()> {
        if self.pool_ids.any() && with!(self, |m| m.pages().pool(pfn)) != 0 {
            return Err(ApiMisuse::new_err(format!("pfn {pfn} belongs to a page_pool: put it back there")));
        }
        Ok(())
    }

    fn nid(&self, nid: Option<Int>) -> PyResult<Option<usize>> {
        nid.map(|nid| nid.below("nid", self.nodes)).transpose()
    }
}

#[pymethods]
impl Machine {
    /// A machine that boots (`memory_pages`) or is loaded (`snapshot`, JSON text).
    #[new]
    #[pyo3(signature = (*, memory_pages=None, cpus=None, nodes=None, movablecore_pages=None, snapshot=None,
        saved=None, saved_slots=None, memcg=false, page_owner=false, threads=false, kernel=None, rules=None))]
    #[expect(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        memory_pages: Option<Int>,
        cpus: Option<Int>,
        nodes: Option<Int>,
        movablecore_pages: Option<Int>,
        snapshot: Option<&str>,
        saved: Option<&str>,
        saved_slots: Option<Vec<(usize, u32)>>,
        memcg: bool,
        page_owner: bool,
        threads: bool,
        kernel: Option<&str>,
        rules: Option<Vec<(String, bool)>>,
    ) -> PyResult<Machine> {
        let rules = rules.unwrap_or_default();
        enum Source {
            Boot(BootSpec),
            Snapshot(Box<Snapshot>),
            Saved(Box<Saved>),
        }
        let source = match (snapshot, saved) {
            (Some(text), _) => {
                let mut snapshot: Box<Snapshot> = Box::new(from_json(text)?);
                let (era, _) = snapshot.facts.era().map_err(to_py)?;
                if let Some(name) = kernel
                    && Era::parse(name).map_err(to_py)? != era
                {
                    return Err(SnapshotError::new_err(format!(
                        "the state is one of kernel {}, not of {name}; rules can be set one by one",
                        era.name()
                    )));
                }
                for (name, holds) in rules {
                    era.rules().with(&name, holds).map_err(to_py)?;
                    snapshot.facts.rules.insert(name, holds);
                }
                Source::Snapshot(snapshot)
            }
            (None, Some(text)) => Source::Saved(Box::new(from_json(text)?)),
            (None, None) => {
                let count = |what: &str, value: Option<Int>, default: i64| match value {
                    Some(v) => v.within(what, 0..=1 << 40),
                    None => Ok(default),
                };
                let mut spec = BootSpec::new(
                    count("memory (in pages)", memory_pages, 0)? as u64,
                    count("cpus", cpus, 2)? as usize,
                    count("nodes", nodes, 1)? as usize,
                );
                spec.movablecore_pages = movablecore_pages
                    .map(|v| v.within("movablecore (in pages)", 0..=1 << 40))
                    .transpose()?
                    .map(|v| v as u64);
                (spec.era, spec.rules) = rules_of(kernel, rules)?;
                Source::Boot(spec)
            }
        };
        /// Switches that a snapshot does not have.
        fn switched<L: Locking>(mut machine: CoreMachine<L>, memcg: bool, page_owner: bool) -> CoreMachine<L> {
            machine.set_memcg(memcg);
            machine.set_page_owner(page_owner);
            machine
        }
        let inner = py.detach(|| -> bulkpages_core::Result<Inner> {
            Ok(if threads {
                Inner::Parallel(match &source {
                    Source::Boot(spec) => switched(CoreMachine::<Atomic>::boot(spec)?, memcg, page_owner),
                    Source::Snapshot(snapshot) => {
                        switched(CoreMachine::<Atomic>::from_snapshot(snapshot)?, memcg, page_owner)
                    }
                    Source::Saved(saved) => CoreMachine::<Atomic>::restore(saved)?,
                })
            } else {
                Inner::Serial(Mutex::new(match &source {
                    Source::Boot(spec) => switched(CoreMachine::<Local>::boot(spec)?, memcg, page_owner),
                    Source::Snapshot(snapshot) => {
                        switched(CoreMachine::<Local>::from_snapshot(snapshot)?, memcg, page_owner)
                    }
                    Source::Saved(saved) => CoreMachine::<Local>::restore(saved)?,
                }))
            })
        });
        let machine = Machine::from_inner(inner.map_err(to_py)?);
        if let Some(slots) = saved_slots.filter(|slots| !slots.is_empty()) {
            let replay = Box::new(Replay::default());
            for (i, page) in slots {
                let slot =
                    replay.slots().get(i).ok_or_else(|| SnapshotError::new_err(format!("slot {i} of replay")))?;
                slot.set(Pfn(page));
            }
            *machine.replay.lock().unwrap_or_else(PoisonError::into_inner) = Some(replay);
        }
        Ok(machine)
    }

    /// CPUs.
    #[getter]
    fn cpus(&self) -> usize {
        self.cpus
    }

    /// Nodes.
    #[getter]
    fn nodes(&self) -> usize {
        self.nodes
    }

    /// Zones.
    #[getter]
    fn nr_zones(&self) -> usize {
        self.zones
    }

    /// The kernel series that it works like: "6.1", "6.12" or "7.3".
    #[getter]
    fn kernel(&self) -> &'static str {
        with!(self, |m| m.era().name())
    }

    /// Names of the rules, each with whether it holds.
    fn _rules(&self) -> Vec<(&'static str, bool)> {
        with!(self, |m| m.rules()).all().collect()
    }

    /// Whether calls of several threads run in parallel.
    #[getter]
    fn threads(&self) -> bool {
        matches!(self.inner, Inner::Parallel(_))
    }

    /// `alloc_pages_bulk()` into the first `nr_pages` slots (all when None). Returns what the kernel's would: v1 the
    /// index behind the last slot that it passed, v2 the number of new pages.
    ///
    /// Args:
    ///     gfp: Flags, joined by `|`; a text like "GFP_KERNEL|__GFP_ZERO" is read as the kernel prints it.
    ///     array: Frame numbers, 0 for NULL. v1 reads and fills it, v2 only writes.
    ///     nr_pages: Slots to fill, from slot 0 on; 0 returns 0.
    ///     api: "v1" or "v2".
    ///     nid: Preferred node; None: the one nearest to the CPU.
    ///     cpu: CPU that executes; 0 when left out.
    ///
    /// Raises:
    ///     InvalidArgument: `nr_pages` below 0 or above the array, flags that contradict each other, an unknown `api`, a
    ///         CPU or node that the machine does not have.
    #[pyo3(signature = (gfp, array, nr_pages=None, *, api="v1", nid=None, cpu=None))]
    #[expect(clippy::too_many_arguments)]
    fn alloc_pages_bulk(
        &self,
        py: Python<'_>,
        gfp: Flags,
        array: Array<'_>,
        nr_pages: Option<Int>,
        api: &str,
        nid: Option<Int>,
        cpu: Option<Int>,
    ) -> PyResult<usize> {
        let api = bulk_api(api)?;
        let (gfp, cpu, nid) = (gfp.gfp()?, self.cpu(cpu)?, self.nid(nid)?);
        let array = array.0.get().slots();
        let slots = match nr_pages {
            None => array,
            Some(n) => &array[..n.within("nr_pages", 0..=array.len() as i64)? as usize],
        };
        let call = || {
            with_ctx!(self, cpu, |m, cx| match api {
                Api::V1 => m.alloc_pages_bulk::<NullOnly>(cx, gfp, nid, slots),
                Api::V2 => m.alloc_pages_bulk::<OutputOnly>(cx, gfp, nid, slots),
            })
        };
        if slots.len() >= DETACH_SLOTS || self.threads() { py.detach(call) } else { call() }.map_err(to_py)
    }

    /// `alloc_pages_bulk_refill()` of the proposal v3: fills the NULL slots of the first `nr_pages` (all when None),
    /// moving pages to lower slots. Returns 0 (all filled), -11 (-EAGAIN, some pages came) or -12 (-ENOMEM, none).
    ///
    /// Args:
    ///     gfp: Flags, joined by `|`; a text like "GFP_KERNEL|__GFP_ZERO" is read as the kernel prints it.
    ///     array: Frame numbers, 0 for NULL.
    ///     nr_pages: Slots to fill, from slot 0 on.
    ///     cpu: CPU that executes; 0 when left out. Pages come from its node.
    ///
    /// Raises:
    ///     InvalidArgument: As `alloc_pages_bulk`.
    #[pyo3(signature = (gfp, array, nr_pages=None, *, cpu=None))]
    fn alloc_pages_bulk_refill(
        &self,
        py: Python<'_>,
        gfp: Flags,
        array: Array<'_>,
        nr_pages: Option<Int>,
        cpu: Option<Int>,
    ) -> PyResult<i32> {
        let (gfp, cpu) = (gfp.gfp()?, self.cpu(cpu)?);
        let array = array.0.get().slots();
        let slots = match nr_pages {
            None => array,
            Some(n) => &array[..n.within("nr_pages", 0..=array.len() as i64)? as usize],
        };
        let call = || with_ctx!(self, cpu, |m, cx| m.alloc_pages_bulk_refill(cx, gfp, slots));
        py.detach(call).map(bulkpages_core::bulk::refill::Refilled::errno).map_err(to_py)
    }

    /// Gives the machine something to reclaim; see `Machine.set_reclaim`.
    #[pyo3(signature = (*, file_pages=None, efficiency=None, latency_ns=None, kswapd_delay_ns=None, tasks=None, cpu=None))]
    #[expect(clippy::too_many_arguments)]
    fn _set_reclaim(
        &self,
        py: Python<'_>,
        file_pages: Option<Int>,
        efficiency: Option<Int>,
        latency_ns: Option<Int>,
        kswapd_delay_ns: Option<Int>,
        tasks: Option<Vec<Int>>,
        cpu: Option<Int>,
    ) -> PyResult<()> {
        let count = |what: &str, v: Option<Int>, default: u64| match v {
            Some(v) => v.within(what, 0..=1 << 40).map(|v| v as u64),
            None => Ok(default),
        };
        let model = ReclaimModel {
            file_pages: count("file_pages", file_pages, 0)?,
            efficiency: efficiency.map_or(Ok(100), |e| e.within("efficiency", 1..=100))? as u32,
            latency_ns: count("latency_ns", latency_ns, 0)?,
            kswapd_delay_ns: kswapd_delay_ns
                .map(|d| d.within("kswapd_delay_ns", 0..=1 << 60))
                .transpose()?
                .map(|d| d as u64),
            tasks: tasks
                .unwrap_or_default()
                .into_iter()
                .map(|t| t.within("pages of a task", 1..=1 << 40).map(|t| t as u64))
                .collect::<PyResult<_>>()?,
        };
        let cpu = self.cpu(cpu)?;
        py.detach(|| with_ctx!(self, cpu, |m, cx| m.set_reclaim(cx, model))).map_err(to_py)
    }

    /// Where the reclaim model stands, as a dict.
    fn _reclaim_info(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        let r = with!(self, |m| m.reclaim_info());
        let d = PyDict::new(py);
        d.set_item("file_pages", r.file_pages)?;
        d.set_item("tasks", r.tasks)?;
        d.set_item("now_ns", r.now_ns)?;
        d.set_item("kswapd_pending", r.kswapd_pending)?;
        d.set_item("unreclaimable_nodes", r.unreclaimable_nodes)?;
        d.set_item("failure_reports", r.failure_reports)?;
        Ok(d.unbind())
    }

    /// Lets virtual time pass, `ns` nanoseconds: whichever kswapd is due runs on `cpu`.
    #[pyo3(signature = (ns, *, cpu=None))]
    fn advance(&self, py: Python<'_>, ns: Int, cpu: Option<Int>) -> PyResult<()> {
        let (ns, cpu) = (ns.within("ns", 0..=1 << 60)? as u64, self.cpu(cpu)?);
        py.detach(|| with_ctx!(self, cpu, |m, cx| m.advance(cx, ns)));
        Ok(())
    }

    /// One block of `order`: its first frame number, or None.
    ///
    /// Args:
    ///     gfp: Flags, joined by `|`; a text like "GFP_KERNEL|__GFP_ZERO" is read as the kernel prints it.
    ///     order: The block has 2^order pages; 0 to 10, 0 when left out.
    ///     nid: Preferred node; None: the one nearest to the CPU.
    ///     cpu: CPU that executes; 0 when left out.
    ///
    /// Raises:
    ///     InvalidArgument: A number out of range, or flags that contradict each other.
    #[pyo3(signature = (gfp, order=None, *, nid=None, cpu=None))]
    fn alloc_pages(&self, gfp: Flags, order: Option<Int>, nid: Option<Int>, cpu: Option<Int>) -> PyResult<Option<u32>> {
        let order = order.map_or(Ok(0), |o| o.within("order", 0..=10))? as u8;
        let (gfp, cpu, nid) = (gfp.gfp()?, self.cpu(cpu)?, self.nid(nid)?);
        let page = with_ctx!(self, cpu, |m, cx| m.alloc_pages(cx, gfp, order, nid));
        page.map(|p| p.map(|pfn| pfn.0)).map_err(to_py)
    }

    /// Frees a block with the order that it was allocated with.
    ///
    /// Args:
    ///     pfn: Its first frame number.
    ///     order: Its order; 0 when left out.
    ///     cpu: CPU that executes, and whose lists get it; 0 when left out.
    ///
    /// Raises:
    ///     ApiMisuse: The block is free already, was allocated with another order, or is not a caller's.
    ///     InvalidArgument: A number out of range.
    #[pyo3(signature = (pfn, order=None, *, cpu=None))]
    fn free_pages(&self, pfn: Int, order: Option<Int>, cpu: Option<Int>) -> PyResult<()> {
        let order = order.map_or(Ok(0), |o| o.within("order", 0..=10))? as u8;
        let (pfn, cpu) = (Pfn(pfn.pfn("pfn")?), self.cpu(cpu)?);
        self.not_in_a_pool(pfn)?;
        with_ctx!(self, cpu, |m, cx| m.free_pages(cx, pfn, order)).map_err(to_py)
    }

    /// Frees the page of each slot that holds one, in order; the slots become NULL. Returns how many.
    ///
    /// Raises:
    ///     ApiMisuse: A slot holds something that is not a page of order 0 of a caller, or a page twice; nothing is freed.
    #[pyo3(signature = (array, *, cpu=None))]
    fn free_bulk(&self, py: Python<'_>, array: Array<'_>, cpu: Option<Int>) -> PyResult<usize> {
        let (slots, cpu) = (array.0.get().slots(), self.cpu(cpu)?);
        if self.pool_ids.any() {
            // What was looked at is what is freed, whoever writes to the array meanwhile.
            let copy = Slot::array(slots.len());
            for (copy, slot) in copy.iter().zip(slots) {
                copy.set_raw(slot.raw());
                self.not_in_a_pool(copy.get())?;
            }
            let held: Vec<&Slot> = slots.iter().zip(&copy).filter(|(_, c)| c.raw() != 0).map(|(s, _)| s).collect();
            let freed = py.detach(|| with_ctx!(self, cpu, |m, cx| m.free_bulk(cx, &copy))).map_err(to_py)?;
            held.into_iter().for_each(|slot| slot.set(Pfn::NULL));
            return Ok(freed);
        }
        let call = || with_ctx!(self, cpu, |m, cx| m.free_bulk(cx, slots));
        if slots.len() >= DETACH_SLOTS || self.threads() { py.detach(call) } else { call() }.map_err(to_py)
    }

    /// Gives the pages on the CPU's lists of all zones back to the buddy lists.
    ///
    /// Raises:
    ///     ApiMisuse: Somebody holds one of these lists (`hold_pcp_lock`); the kernel would wait.
    #[pyo3(signature = (cpu=None))]
    fn drain_local_pages(&self, py: Python<'_>, cpu: Option<Int>) -> PyResult<()> {
        let cpu = self.cpu(cpu)?;
        py.detach(|| with_ctx!(self, cpu, |m, cx| m.drain_local_pages(cx))).map_err(to_py)
    }

    /// Puts a fault plan in force; returns the ticket that takes it away.
    fn _push_faults(&self, pages: Option<Int>, steps: Vec<(String, Bound<'_, PyAny>)>) -> PyResult<u64> {
        Ok(self.faults.push(faults::plan(pages, steps)?))
    }

    /// Takes a fault plan away.
    fn _remove_faults(&self, ticket: u64) {
        self.faults.remove(ticket);
    }

    /// Another CPU takes or gives back the lock of one CPU's lists in one zone.
    fn _hold_pcp_lock(&self, node: Int, zone: Int, pcp_cpu: Int, held: bool) -> PyResult<()> {
        let node = node.below("node", self.nodes)?;
        let (zone, cpu) = (zone.below("zone", 4)?, pcp_cpu.below("pcp_cpu", self.cpus)?);
        with!(self, |m| m.hold_pcp_lock(node, zone, cpu, held)).map_err(to_py)
    }

    /// Begins to keep what the calls do; refused while that is done already.
    fn _trace_start(&self) -> PyResult<()> {
        if self.tracer.start() {
            Ok(())
        } else {
            Err(crate::errors::ApiMisuse::new_err("a trace is being taken already"))
        }
    }

    /// Ends it: the lines of the trace, without the file's head.
    fn _trace_stop(&self) -> String {
        self.tracer.stop()
    }

    /// NUMA counters of a zone: hit, miss, foreign, local, other.
    fn _numa(&self, index: usize) -> PyResult<(u64, u64, u64, u64, u64)> {
        with!(self, |m| m.zone_numa(index)).map_err(to_py)
    }

    /// The state as JSON text.
    fn _snapshot(&self, py: Python<'_>) -> PyResult<String> {
        let snapshot = py.detach(|| with!(self, |m| m.snapshot()));
        serde_json::to_string(&snapshot).map_err(|e| SnapshotError::new_err(e.to_string()))
    }

    /// Whether the machine has page_pools.
    fn _has_pools(&self) -> bool {
        self.pool_ids.any()
    }

    /// Everything that later calls depend on: as JSON text, and the pages in the slots of `replay`.
    fn _save(&self, py: Python<'_>) -> PyResult<(String, Vec<(usize, u32)>)> {
        let saved = py.detach(|| with!(self, |m| m.save()));
        let text = serde_json::to_string(&saved).map_err(|e| SnapshotError::new_err(e.to_string()))?;
        let replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        let slots = replay.as_ref().map_or(&[][..], |replay| replay.slots()).iter().enumerate();
        Ok((text, slots.filter(|(_, s)| s.raw() != 0).map(|(i, s)| (i, s.get().0)).collect()))
    }

    /// Counters by their names in /proc/vmstat.
    fn _vmstat(&self, py: Python<'_>) -> Vec<(&'static str, u64)> {
        py.detach(|| with!(self, |m| m.vmstat()))
    }

    /// Checks every invariant; returns (managed, free, pcp, allocated, kernel) pages.
    fn _audit(&self, py: Python<'_>) -> PyResult<(u64, u64, u64, u64, u64)> {
        let audit = py.detach(|| with!(self, |m| m.audit())).map_err(to_py)?;
        Ok((audit.managed, audit.free, audit.pcp, audit.allocated, audit.kernel))
    }

    /// Executes recorded operations (results in them are ignored) on the machine's one array of 131072 slots, which all
    /// calls of replay share. Returns for each its ret, events, zones and pages, as recorded. Everything that can be
    /// known beforehand is checked before anything runs; an operation that frees a block with another order than it was
    /// allocated with raises ApiMisuse with its index, and what ran before it stays done.
    fn replay<'py>(&self, py: Python<'py>, ops: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        self.replay_ops(py, ops)
    }

    /// A zone as a dict.
    fn _zone(&self, py: Python<'_>, index: usize) -> PyResult<Py<PyDict>> {
        let z = with!(self, |m| m.zone_info(index)).map_err(to_py)?;
        let d = PyDict::new(py);
        d.set_item("nid", z.nid)?;
        d.set_item("idx", z.idx)?;
        d.set_item("name", with!(self, |m| m.zone_types().name(z.idx.into())))?;
        d.set_item("start", z.start)?;
        d.set_item("spanned", z.spanned)?;
        d.set_item("present", z.present)?;
        d.set_item("managed", z.managed)?;
        d.set_item("nr_free", z.nr_free)?;
        d.set_item("free_pages", z.free_pages)?;
        let marks = PyDict::new(py);
        for (name, mark) in ["min", "low", "high", "promo"].into_iter().zip(z.watermark) {
            marks.set_item(name, mark)?;
        }
        d.set_item("watermark", marks)?;
        d.set_item("boost", z.boost)?;
        d.set_item("lowmem_reserve", z.lowmem_reserve)?;
        d.set_item("flags", z.flags)?;
        d.set_item("reserved_highatomic", z.reserved_highatomic)?;
        d.set_item("free_highatomic", z.free_highatomic)?;
        d.set_item("free_cma", z.free_cma)?;
        Ok(d.unbind())
    }

    /// The lists of one CPU in one zone as a dict.
    fn _pcp(&self, py: Python<'_>, index: usize, cpu: Int) -> PyResult<Py<PyDict>> {
        let cpu = cpu.below("cpu", self.cpus)?;
        let p = with!(self, |m| m.pcp_info(index, cpu)).map_err(to_py)?;
        let d = PyDict::new(py);
        d.set_item("count", p.count)?;
        d.set_item("high", p.high)?;
        d.set_item("high_min", p.high_min)?;
        d.set_item("high_max", p.high_max)?;
        d.set_item("batch", p.batch)?;
        d.set_item("flags", p.flags)?;
        d.set_item("alloc_factor", p.alloc_factor)?;
        d.set_item("expire", p.expire)?;
        d.set_item("free_count", p.free_count)?;
        d.set_item("held", p.held)?;
        let lists = PyDict::new(py);
        for (i, list) in p.lists.iter().enumerate().filter(|(_, l)| !l.is_empty()) {
            lists.set_item(i, list.iter().map(|pfn| pfn.0).collect::<Vec<_>>())?;
        }
        d.set_item("lists", lists)?;
        Ok(d.unbind())
    }
}
