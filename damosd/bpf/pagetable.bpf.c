// SPDX-License-Identifier: GPL-2.0-only
/*
 * Read the page tables of other processes.
 *
 * Programs:
 *   find_task   iter/task  says where the task_struct of one process lies
 *   locate      syscall    finds the direct map and the array of struct page
 *   probe       syscall    one round of sampling: reads scattered addresses of several processes, counts the
 *                          pages that were accessed and lists those to be made old
 *   tables      syscall    copies whole last-level page tables, 512 entries at a time
 *   directories syscall    copies the tables of some level above: what is mapped at all
 *   lock        syscall    says who has the lock of one process's memory map, and who waits for it
 *
 * No lock is taken and nothing is ever written to the kernel. A page table may be freed and used again while
 * it is read: then an entry is nonsense for one run. Reads that fault are caught, and no read leaves the
 * direct map of RAM, so nonsense cannot reach device memory.
 *
 * x86-64: 4 or 5 levels, leaves of 4 KiB, 2 MiB and 1 GiB.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

/* The few kernel types that are needed; their offsets come from the running kernel's BTF. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int counter;
} atomic_t;
typedef struct {
	__s64 counter;
} atomic64_t;
struct list_head {
	struct list_head *next;
};
struct rw_semaphore {
	atomic64_t count;
};
struct mm_struct {
	void *pgd;
	atomic_t mm_users;
	struct rw_semaphore mmap_lock;
};
struct signal_struct {
	int nr_threads;
	struct list_head thread_head;
	unsigned long nvcsw;
	unsigned long nivcsw;
};
struct vm_struct {
	struct page **pages;
};
struct task_struct {
	int tgid;
	__u64 start_boottime;
	__u64 self_exec_id;
	int on_cpu;
	unsigned long nvcsw;
	unsigned long nivcsw;
	struct mm_struct *mm;
	struct signal_struct *signal;
	struct list_head thread_node;
	struct vm_struct *stack_vm_area;
};
struct page {
	unsigned long compound_head;
	atomic_t _mapcount;
};
struct page___before_6_3 {
	atomic_t compound_mapcount;
};
struct folio {
	void *mapping;
	unsigned long index;
	atomic_t _mapcount;
	unsigned long _flags_1;
	atomic_t _large_mapcount;
	atomic_t _entire_mapcount;
};
struct folio___before_6_6 {
	unsigned char _folio_order;
};
struct bpf_iter__task {
	struct task_struct *task;
};
#pragma clang attribute pop

enum pageflags { PG_lru = 5, PG_head = 6 }; /* the running kernel's numbers are put in when the program is loaded */

#define PRESENT (1ULL << 0)
#define ACCESSED (1ULL << 5)
#define LEAF (1ULL << 7) /* _PAGE_PSE, in the upper levels */
#define PROTNONE (1ULL << 8) /* in memory, but every access faults: NUMA hinting, mprotect(PROT_NONE) */
#define SPECIAL (1ULL << 9) /* no struct page to act on: the zero page, device memory */
#define FLAGS 0xfffULL

/* What a result adds to the entry; damosd/access/pagetable.py reads it. */
#define ORDER_SHIFT 52
#define SHARED (1ULL << 57)
#define SWAPPED (1ULL << 58)
#define FIXED (1ULL << 59) /* in addition to SHARED: nothing makes it old */
#define LEVEL_SHIFT 60

/* Of the count in a struct rw_semaphore: a writer has it, somebody waits, somebody is to have it next. */
#define LOCK_TAKEN 7ULL
#define LOCK_PATIENCE_NS 10000 /* most who take it let go of it sooner */
#define LOCK_LOOKS 1000 /* more than there is time for: a loop has to have an end */

#define GIB (1ULL << 30)
#define CHUNK (1ULL << 21) /* what one table of level 1 maps */

/* Where this kernel keeps what a walk needs; found once by `locate`. */
struct layout {
	__u64 direct_map; /* address of physical 0 */
	__u64 phys_mask; /* the bits of an entry that are an address; memory encryption takes some away */
	__u64 phys_end; /* end of RAM */
	__u64 vmemmap; /* address of the first struct page, 0 where unknown */
	__u64 levels;
};

/* What a run is asked for, and in the second part what it answers. */
struct request {
	struct layout layout;
	__u32 nr_segments;
	__u32 check; /* count the accessed ones among the pages that each segment has prepared last */
	__u32 prepare; /* list the accessed ones among the pages from `prepared` on: see `enum prepare` */
	__u32 prepared; /* position in `addresses`; each run moves it on by one round */
	__u32 nr_samples; /* in a round */
	__u32 above; /* the level that points to the directories wanted; one more than there are for the top */

	__u32 nr_odd; /* segments whose status is not OK, or whose memory map is locked */
	__u32 nr_vectors;
	__u32 nr_shared; /* accessed pages to prepare that cannot be listed */
	__u64 bytes; /* in all vectors; or what `lock` found */
};

/* The last one: nothing of a process whose memory map is locked, as who advised it would have to wait. */
enum prepare { PREPARE_NOTHING, PREPARE_ALL, PREPARE_UNLOCKED };

/* The samples of one process: the next `count` of every round. */
enum { SEGMENT_OK, SEGMENT_STALE, SEGMENT_NO_MEMORY, SEGMENT_EXECED };
struct segment {
	__u64 task; /* identity as `find_task` found it: address, start time and pid must all still agree */
	__u64 start_boottime;
	__u64 exec_id;
	__u32 tgid;
	__u32 count;

	__u32 status;
	__u32 nr_vectors;
	__u64 bytes; /* in these vectors */
	__u32 nr_shared;
	__u32 round; /* position in `addresses` of the pages prepared last */
	__u64 switches; /* what `count_switches` said then */
	__u32 locked;
	__u32 unused;
};

/* One sample's outcome over the rounds. */
struct state {
	__u32 nr_accesses;
	__u32 nr_unobserved;
	__u32 unseen; /* the page prepared last was young and could not be made old */
	__u32 unused;
};

/* struct iovec */
struct vector {
	__u64 start;
	__u64 length;
};

struct table {
	__u64 entry[512];
};

struct found {
	__u64 task;
	__u64 start_boottime;
	__u64 exec_id;
	__u32 tgid;
	__u32 has_memory;
};

/* Shared with user space, which sets the real sizes before it loads the object. */
#define SHARED_ARRAY(value_type, name)                     \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_ARRAY);            \
		__uint(map_flags, BPF_F_MMAPABLE);           \
		__uint(max_entries, 1);                      \
		__type(key, __u32);                          \
		__type(value, value_type);                   \
	} name SEC(".maps")

SHARED_ARRAY(struct segment, segments);
SHARED_ARRAY(__u64, addresses);
SHARED_ARRAY(__u64, results); /* of the pages prepared, or of the chunks copied */
SHARED_ARRAY(struct state, states);
SHARED_ARRAY(struct vector, vectors); /* what to make old, by segment */
SHARED_ARRAY(__u32, vector_samples); /* which sample each is for */
SHARED_ARRAY(struct table, copies);
SHARED_ARRAY(struct found, found);
SHARED_ARRAY(struct segment, asked); /* whose lock `lock` looks at */

static __always_inline __u64 peek(__u64 address)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)address);
	return value;
}

/* The direct map's address of what an entry points to; 0 outside of RAM. */
static __always_inline __u64 pointee(const struct layout *l, __u64 entry)
{
	__u64 phys = entry & l->phys_mask & ~FLAGS;

	return phys < l->phys_end ? l->direct_map + phys : 0;
}

struct leaf {
	__u64 entry; /* 0 when nothing is there */
	__u32 level; /* 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB */
};

/* Where a walk begins. It remembers the tables that the last one went through: most stay near each other. */
struct path {
	__u64 pgd;
	__u64 gib; /* number of the GiB that `table` is for; ~0 for none */
	__u64 table; /* of level 2 */
	__u64 chunk; /* and of the chunk that `last` is for */
	__u64 last; /* of level 1 */
	struct leaf leaf; /* where it ended */
};

/*
 * Walk down to `lowest`, or to the leaf above it. Like `inspect` it is not inlined, nor static: so the kernel checks it
 * once and by itself when it loads a program, and not again with every path that leads to every place that calls it;
 * and wants to see that no pointer is NULL.
 */
__noinline int descend(const struct layout *l, struct path *path, __u64 address, __u32 lowest)
{
	struct leaf leaf = {};
	__u64 table;
	__u32 top;

	if (!l || !path)
		return 0;
	table = path->pgd;
	top = l->levels;
	if (path->gib == address / GIB) {
		table = path->table;
		top = 2;
	}
	if (lowest == 1 && path->chunk == address / CHUNK) {
		table = path->last;
		top = 1;
	}

#pragma unroll
	for (int level = 5; level >= 1; level--) {
		__u64 entry;

		if (level > top)
			continue;
		if (level < lowest)
			break;
		entry = peek(table + ((address >> (3 + 9 * level)) & 511) * 8);
		leaf.level = level;
		leaf.entry = entry;
		if (level == 1)
			break;
		if (level <= 3 && entry & LEAF && entry & (PRESENT | PROTNONE))
			break;
		if (!(entry & PRESENT)) {
			leaf.level = 0;
			leaf.entry = 0;
			break;
		}
		if (level > lowest) {
			table = pointee(l, entry);
			if (!table) {
				leaf.level = 0;
				leaf.entry = 0;
				break;
			}
		}
		if (level == 3 && lowest < 3) {
			path->gib = address / GIB;
			path->table = table;
		}
		if (level == 2 && lowest < 2) {
			path->chunk = address / CHUNK;
			path->last = table;
		}
	}
	/* Frames of entries that are not present are kept inverted, out of reach of the L1TF hardware flaw. */
	if (!(leaf.entry & PRESENT) && leaf.entry & PROTNONE)
		leaf.entry ^= l->phys_mask & ~FLAGS;
	path->leaf = leaf;
	return 0;
}

static __always_inline struct leaf walk(const struct layout *l, struct path *path, __u64 address, __u32 lowest)
{
	descend(l, path, address, lowest);
	return path->leaf;
}

static __always_inline bool is_mapped_once(__u64 page, bool compound, __u64 head, __u32 level, __u32 order)
{
	struct page *p = (void *)page;
	struct folio *folio = (void *)head;

	if (!compound)
		return BPF_CORE_READ(p, _mapcount.counter) == 0;
	if (bpf_core_field_exists(folio->_large_mapcount)) {
		/* One for a mapping of the whole folio by one huge entry, else one for each page. */
		int mapped = BPF_CORE_READ(folio, _large_mapcount.counter) + 1;

		return mapped == (level > 1 ? 1 : 1 << order);
	}
	if (level == 1)
		return BPF_CORE_READ(p, _mapcount.counter) == 0;
	if (bpf_core_field_exists(folio->_entire_mapcount))
		return BPF_CORE_READ(folio, _entire_mapcount.counter) == 0;
	if (bpf_core_field_exists(((struct page___before_6_3 *)0)->compound_mapcount)) {
		struct page___before_6_3 *tail = (void *)head + bpf_core_type_size(struct page);

		return BPF_CORE_READ(tail, compound_mapcount.counter) == 0;
	}
	return true;
}

/*
 * Can MADV_COLD make this page old, and as a part of how many pages? It leaves pages alone that are mapped more
 * than once or on no LRU list, and it splits a large folio that is given to it in part. On no list are those of
 * hugetlb, and new ones for as long as they wait for more that the same CPU has made.
 */
__noinline __u64 inspect(const struct layout *l, __u64 entry, __u32 level)
{
	__u64 size = bpf_core_type_size(struct page), order = level > 1 ? 9 * (level - 1) : 0;
	__u64 page, head, flags, pfn;
	bool compound;

	if (!l)
		return SHARED | FIXED;
	pfn = (entry & l->phys_mask) >> 12;
	if (entry & SPECIAL || pfn >= l->phys_end >> 12)
		return SHARED | FIXED | order << ORDER_SHIFT;
	if (!l->vmemmap)
		return order << ORDER_SHIFT;
	page = l->vmemmap + pfn * size;
	head = BPF_CORE_READ((struct page *)page, compound_head);
	compound = head & 1;
	head = compound ? head - 1 : page;
	/* The flags are the first word of struct page in every kernel, whatever type they have there. */
	flags = peek(head);
	compound |= flags >> bpf_core_enum_value(enum pageflags, PG_head) & 1;
	if (compound && level == 1) {
		struct folio *folio = (void *)head;
		struct folio___before_6_6 *older = (void *)head;

		if (bpf_core_field_exists(older->_folio_order))
			order = BPF_CORE_READ(older, _folio_order) & 31;
		else if (bpf_core_field_exists(folio->_flags_1))
			order = BPF_CORE_READ(folio, _flags_1) & 31;
	}
	if (!(flags >> bpf_core_enum_value(enum pageflags, PG_lru) & 1))
		return SHARED | (level > 1 ? FIXED : 0) | order << ORDER_SHIFT;
	if (!is_mapped_once(page, compound, head, level, order))
		return SHARED | order << ORDER_SHIFT;
	return order << ORDER_SHIFT;
}

struct visit {
	const struct request *request;
	struct path path;
	__u64 last_start; /* of the vector before: neighbouring regions may sample one huge page */
	__u32 first; /* sample of this segment */
	__u32 round; /* where in `addresses` the pages are that it prepared last */
	__u32 next; /* first sample of the next segment */
	__u32 nr_odd : 31; /* all there is room for: before Linux 6.7 frames of the stack count in steps of 32 bytes */
	__u32 leave : 1; /* this segment as it is */
	__u32 nr_vectors;
	__u32 nr_shared;
	__u64 bytes;
};

static __always_inline bool is_present(__u64 entry)
{
	return entry & (PRESENT | PROTNONE);
}

static __always_inline void list(struct visit *v, __u32 sample, __u64 address, __u64 entry, __u64 order)
{
	__u64 pages = 1ULL << (order & 31), frame = (entry & v->request->layout.phys_mask) >> 12;
	__u64 start = address - (frame & (pages - 1)) * 4096;
	__u32 k = v->nr_vectors;
	struct vector *vector = bpf_map_lookup_elem(&vectors, &k);
	__u32 *listed = bpf_map_lookup_elem(&vector_samples, &k);

	if (!vector || !listed || start == v->last_start)
		return;
	vector->start = v->last_start = start;
	vector->length = pages * 4096;
	*listed = sample;
	v->nr_vectors++;
	v->bytes += pages * 4096;
}

static __always_inline void prepare_one(struct visit *v, __u32 sample, struct state *state)
{
	const struct layout *layout = &v->request->layout;
	__u32 k = v->request->prepared + sample;
	__u64 *address = bpf_map_lookup_elem(&addresses, &k), *result = bpf_map_lookup_elem(&results, &sample);
	struct leaf leaf;
	__u64 entry, out;

	if (!address || !result)
		return;
	leaf = walk(layout, &v->path, *address, 1);
	entry = leaf.entry;
	out = (__u64)leaf.level << LEVEL_SHIFT;
	state->unseen = 0;
	if (!is_present(entry)) {
		*result = entry ? out | SWAPPED : out;
		return;
	}
	/* The frame of the very page that was asked for, also inside a huge one. */
	if (leaf.level == 2)
		entry = (entry & ~0x1ff000ULL) | (*address & 0x1ff000ULL);
	else if (leaf.level == 3)
		entry = (entry & ~0x3ffff000ULL) | (*address & 0x3ffff000ULL);
	out |= (entry & (layout->phys_mask | FLAGS)) | PRESENT;
	/* What is old need not be made old; whoever does not check either wants to know everything. */
	if (entry & ACCESSED || !v->request->check) {
		__u64 traits = inspect(layout, entry, leaf.level);

		out |= traits;
		if (!(entry & ACCESSED)) {
			/* It is only told what it is. */
		} else if (traits & SHARED) {
			state->unseen = 1;
			v->nr_shared++;
		} else {
			list(v, sample, *address, entry, traits >> ORDER_SHIFT);
		}
	}
	*result = out;
}

static long probe_one(__u32 i, struct visit *v)
{
	const struct request *r = v->request;
	__u32 sample = v->first + i, k = v->round + sample;
	struct state *state = bpf_map_lookup_elem(&states, &sample);
	bool young = true;

	if (!state)
		return 1;
	if (r->check) {
		__u64 *address = bpf_map_lookup_elem(&addresses, &k), entry;

		if (!address)
			return 1;
		entry = walk(&r->layout, &v->path, *address, 1).entry;
		young = is_present(entry) && entry & ACCESSED;
		if (state->unseen)
			state->nr_unobserved++;
		else if (young)
			state->nr_accesses++;
	}
	if (v->leave)
		state->unseen |= young; /* what is old stays prepared */
	else if (r->prepare)
		prepare_one(v, sample, state);
	return 0;
}

/* What has not run has accessed nothing: the pages stay prepared. */
static long skip_one(__u32 i, struct visit *v)
{
	__u32 sample = v->first + i;
	struct state *state = bpf_map_lookup_elem(&states, &sample);

	if (!state)
		return 1;
	if (state->unseen)
		state->nr_unobserved++;
	return 0;
}

/* The threads of a process that use its address space. */
struct threads {
	__u64 mm;
	__u64 head; /* of the list; the threads' nodes follow */
	__u64 node; /* 0 once one is found that is on a CPU */
	__u64 switches;
	__u32 nr_users;
};

static long visit_thread(__u32 i, struct threads *threads)
{
	struct task_struct *task = 0;

	if (threads->node == threads->head)
		return 1;
	task = (void *)(threads->node - bpf_core_field_offset(task->thread_node));
	if (BPF_CORE_READ(task, on_cpu)) {
		threads->node = 0;
		return 1;
	}
	threads->switches += BPF_CORE_READ(task, nvcsw) + BPF_CORE_READ(task, nivcsw);
	threads->nr_users += (__u64)BPF_CORE_READ(task, mm) == threads->mm;
	threads->node = (__u64)BPF_CORE_READ(task, thread_node.next);
	return 0;
}

/*
 * How often threads of this process, those that have ended too, were taken off a CPU; 0 when it cannot be told, or one
 * may be running. While it stays the same nobody has used the address space: no thread has, and there is no other user.
 */
static __always_inline __u64 count_switches(__u64 process, __u32 nr_samples)
{
	struct task_struct *task = (void *)process;
	struct signal_struct *signal;
	struct mm_struct *mm;
	struct threads threads = {};
	__u32 nr_threads;

	if (!bpf_core_field_exists(task->on_cpu))
		return 0;
	signal = BPF_CORE_READ(task, signal);
	nr_threads = BPF_CORE_READ(signal, nr_threads);
	if (2 * nr_threads > nr_samples)
		return 0; /* to ask all of them would cost more than it saves */
	mm = BPF_CORE_READ(task, mm);
	threads.mm = (__u64)mm;
	threads.head = (__u64)signal + bpf_core_field_offset(signal->thread_head);
	threads.node = (__u64)BPF_CORE_READ(signal, thread_head.next);
	threads.switches = BPF_CORE_READ(signal, nvcsw) + BPF_CORE_READ(signal, nivcsw);
	bpf_loop(nr_threads + 1, visit_thread, &threads, 0);
	if (threads.node != threads.head || BPF_CORE_READ(mm, mm_users.counter) != threads.nr_users)
		return 0;
	return threads.switches + 1;
}

static __always_inline long copy_to(struct table *copy, __u64 *result, __u64 table, __u32 above)
{
	*result = 0;
	if (table && !bpf_probe_read_kernel(copy, sizeof(*copy), (void *)table))
		*result = (__u64)(above - 1) << LEVEL_SHIFT;
	return 0;
}

/* Copy the table that the entry at level `above` points to, or tell which leaf there is in its place. */
static __always_inline long copy_table(__u32 i, struct visit *v, __u32 above)
{
	const struct layout *layout = &v->request->layout;
	__u32 k = v->first + i;
	__u64 *address = bpf_map_lookup_elem(&addresses, &k), *result = bpf_map_lookup_elem(&results, &k);
	struct table *copy = bpf_map_lookup_elem(&copies, &k);
	struct leaf leaf;

	if (!address || !result || !copy)
		return 1;
	if (above > layout->levels)
		return copy_to(copy, result, v->path.pgd, above);
	leaf = walk(layout, &v->path, *address, above);
	if (leaf.entry & LEAF) {
		*result = (__u64)leaf.level << LEVEL_SHIFT | PRESENT | (leaf.entry & (layout->phys_mask | FLAGS));
		return 0;
	}
	return copy_to(copy, result, leaf.entry ? pointee(layout, leaf.entry) : 0, above);
}

static long copy_one(__u32 i, struct visit *v)
{
	return copy_table(i, v, 2);
}

static long copy_directory(__u32 i, struct visit *v)
{
	return copy_table(i, v, v->request->above);
}

/* The address space of a segment; NULL, and its status tells why, when it is not there or not the one we knew. */
static __always_inline struct mm_struct *find_space(struct segment *s)
{
	struct task_struct *task = (void *)s->task;
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	if (BPF_CORE_READ(task, tgid) != s->tgid || BPF_CORE_READ(task, start_boottime) != s->start_boottime)
		s->status = SEGMENT_STALE;
	else if (!mm)
		s->status = SEGMENT_NO_MEMORY;
	else if (BPF_CORE_READ(task, self_exec_id) != s->exec_id)
		s->status = SEGMENT_EXECED;
	else
		s->status = SEGMENT_OK;
	return s->status == SEGMENT_OK ? mm : 0;
}

/* Make the next segment the current one; false when its address space is not there or not the one we knew. */
static __always_inline bool enter(__u32 i, struct visit *v)
{
	struct segment *s = bpf_map_lookup_elem(&segments, &i);
	struct mm_struct *mm;

	if (!s)
		return false;
	v->first = v->next;
	v->next += s->count;
	v->last_start = ~0ULL;
	s->nr_vectors = s->nr_shared = s->locked = 0;
	mm = find_space(s);
	if (!mm) {
		s->switches = 0;
		v->nr_odd++;
		return false;
	}
	v->path.pgd = (__u64)BPF_CORE_READ(mm, pgd);
	v->path.gib = v->path.chunk = ~0ULL;
	return true;
}

/* Looks at the lock of a memory map until nobody has it who keeps others waiting, or for LOCK_PATIENCE_NS. */
struct look {
	struct mm_struct *mm;
	__u64 until;
	__u64 count;
};

static long look_at_lock(__u32 i, struct look *look)
{
	struct mm_struct *mm = look->mm;

	look->count = BPF_CORE_READ(mm, mmap_lock.count.counter);
	return !(look->count & LOCK_TAKEN) || bpf_ktime_get_ns() > look->until;
}

/* The count of a process's lock; 0 on kernels for real time, where it is of another kind. Not inlined: see `descend`. */
__noinline __u64 lock_of(__u64 process)
{
	struct task_struct *task = (void *)process;
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct look look = { .mm = mm };

	if (!bpf_core_field_exists(mm->mmap_lock.count))
		return 0;
	look.count = BPF_CORE_READ(mm, mmap_lock.count.counter);
	if (look.count & LOCK_TAKEN) {
		look.until = bpf_ktime_get_ns() + LOCK_PATIENCE_NS;
		bpf_loop(LOCK_LOOKS, look_at_lock, &look, 0);
	}
	return look.count;
}

static long probe_segment(__u32 i, struct visit *v)
{
	__u32 vectors_before = v->nr_vectors, shared_before = v->nr_shared;
	__u64 bytes_before = v->bytes, switches;
	struct segment *s = bpf_map_lookup_elem(&segments, &i);

	if (!s || !enter(i, v))
		return 0;
	switches = count_switches(s->task, s->count);
	if (v->request->check && switches && switches == s->switches) {
		bpf_loop(s->count, skip_one, v, 0);
		return 0;
	}
	if (v->request->prepare && lock_of(s->task) & LOCK_TAKEN) {
		s->locked = 1;
		v->nr_odd++;
	}
	v->leave = s->locked && v->request->prepare == PREPARE_UNLOCKED;
	if (v->leave && !v->request->check) {
		s->switches = 0;
		s->round = v->request->prepared;
	}
	v->round = s->round;
	bpf_loop(s->count, probe_one, v, 0);
	if (v->request->prepare && !v->leave) {
		s->switches = switches;
		s->round = v->request->prepared;
	}
	s->nr_vectors = v->nr_vectors - vectors_before;
	s->bytes = v->bytes - bytes_before;
	s->nr_shared = v->nr_shared - shared_before;
	return 0;
}

static long copy_segment(__u32 i, struct visit *v)
{
	if (!enter(i, v))
		return 0;
	bpf_loop(v->next - v->first, copy_one, v, 0);
	return 0;
}

static long copy_directory_segment(__u32 i, struct visit *v)
{
	if (!enter(i, v))
		return 0;
	bpf_loop(v->next - v->first, copy_directory, v, 0);
	return 0;
}

SEC("syscall")
int probe(struct request *r)
{
	struct request request = *r;
	struct visit v = { .request = &request };

	bpf_loop(request.nr_segments, probe_segment, &v, 0);
	r->nr_odd = v.nr_odd;
	r->nr_vectors = v.nr_vectors;
	r->nr_shared = v.nr_shared;
	r->bytes = v.bytes;
	r->prepared = request.prepared + request.nr_samples;
	return 0;
}

SEC("syscall")
int tables(struct request *r)
{
	struct request request = *r;
	struct visit v = { .request = &request };

	bpf_loop(request.nr_segments, copy_segment, &v, 0);
	r->nr_odd = v.nr_odd;
	return 0;
}

SEC("syscall")
int directories(struct request *r)
{
	struct request request = *r;
	struct visit v = { .request = &request };

	bpf_loop(request.nr_segments, copy_directory_segment, &v, 0);
	r->nr_odd = v.nr_odd;
	return 0;
}

SEC("syscall")
int lock(struct request *r)
{
	__u32 zero = 0;
	struct segment *s = bpf_map_lookup_elem(&asked, &zero);

	r->bytes = s && find_space(s) ? lock_of(s->task) : 0;
	return 0;
}

SEC("iter/task")
int find_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct found *f;
	__u32 zero = 0;

	f = bpf_map_lookup_elem(&found, &zero);
	if (!task || !f)
		return 0;
	/* Any thread will do as long as it has memory: the first one may have ended before the others. */
	if (f->task && (f->has_memory || !task->mm))
		return 0;
	f->task = (__u64)task;
	f->start_boottime = task->start_boottime;
	f->tgid = task->tgid;
	f->exec_id = task->self_exec_id;
	f->has_memory = task->mm != NULL;
	return 0;
}

/* Own pages to recognise: the caller has written `magic` to the first word of each. */
struct search {
	struct layout layout; /* in: phys_mask, phys_end, levels; out: direct_map, vmemmap */
	__u64 address; /* of the first own page; page i has magic + i */
	__u64 magic;
	__u32 nr_pages;
	__u32 steps; /* how many GiB to try */
};

struct try {
	struct layout *layout;
	const struct search *search;
	struct path path;
	__u64 top;
	__u32 agreed;
};

static long recognise_page(__u32 i, struct try *t)
{
	const struct search *s = t->search;
	struct leaf leaf = walk(t->layout, &t->path, s->address + i * 4096ULL, 1);
	__u64 page = leaf.level == 1 && leaf.entry & PRESENT ? pointee(t->layout, leaf.entry) : 0;

	if (!page || peek(page) != s->magic + i)
		return 1;
	t->agreed++;
	return 0;
}

static long try_direct_map(__u32 i, struct try *t)
{
	t->layout->direct_map = t->top - i * GIB;
	t->path.gib = t->path.chunk = ~0ULL;
	t->agreed = 0;
	bpf_loop(t->search->nr_pages, recognise_page, t, 0);
	return t->agreed == t->search->nr_pages;
}

static long recognise_folio(__u32 i, struct try *t)
{
	const struct search *s = t->search;
	__u64 address = s->address + i * 4096ULL;
	struct leaf leaf = walk(t->layout, &t->path, address, 1);
	__u64 pfn = (leaf.entry & t->layout->phys_mask) >> 12;
	struct folio *folio = (void *)(t->layout->vmemmap + pfn * bpf_core_type_size(struct page));

	/* An anonymous page knows its own place in the address space. */
	if (((__u64)BPF_CORE_READ(folio, mapping) & 3) != 1 || BPF_CORE_READ(folio, index) != address >> 12)
		return 1;
	t->agreed++;
	return 0;
}

static long try_vmemmap(__u32 i, struct try *t)
{
	t->layout->vmemmap = t->top - i * GIB;
	t->agreed = 0;
	bpf_loop(t->search->nr_pages, recognise_folio, t, 0);
	return t->agreed == t->search->nr_pages;
}

/*
 * Find the two bases that address space randomisation moves, both in steps of 1 GiB. A top-level table lies in
 * the direct map and a struct page in vmemmap, so each base is at most the RAM's share below such a pointer, and
 * our own pages tell when it is right.
 */
SEC("syscall")
int locate(struct search *s)
{
	struct search search = *s;
	struct layout layout = s->layout;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct try t = { .layout = &layout, .search = &search };

	t.path.pgd = (__u64)BPF_CORE_READ(task, mm, pgd);
	t.top = t.path.pgd & ~(GIB - 1);
	bpf_loop(search.steps, try_direct_map, &t, 0);
	if (!search.nr_pages || t.agreed != search.nr_pages)
		return 0;
	s->layout.direct_map = layout.direct_map;

	if (!bpf_core_field_exists(task->stack_vm_area))
		return 0;
	t.top = peek((__u64)BPF_CORE_READ(task, stack_vm_area, pages)) & ~(GIB - 1);
	bpf_loop(search.steps, try_vmemmap, &t, 0);
	if (t.agreed == search.nr_pages)
		s->layout.vmemmap = layout.vmemmap;
	return 0;
}
