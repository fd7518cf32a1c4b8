// SPDX-License-Identifier: GPL-2.0-only
/*
 * Read the page tables of other processes.
 *
 * Programs:
 *   find_task   iter/task  says where the task_struct of one process lies
 *   locate      syscall    finds the direct map and the array of struct page
 *   probe       syscall    reads the leaf entries of many scattered addresses, of several processes
 *   tables      syscall    copies whole last-level page tables, 512 entries at a time
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
struct mm_struct {
	void *pgd;
};
struct vm_struct {
	struct page **pages;
};
struct task_struct {
	int tgid;
	__u64 start_boottime;
	__u64 self_exec_id;
	struct mm_struct *mm;
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
#define LEVEL_SHIFT 60

#define GIB (1ULL << 30)

/* Where this kernel keeps what a walk needs; found once by `locate`. */
struct layout {
	__u64 direct_map; /* address of physical 0 */
	__u64 phys_mask; /* the bits of an entry that are an address; memory encryption takes some away */
	__u64 phys_end; /* end of RAM */
	__u64 vmemmap; /* address of the first struct page, 0 where unknown */
	__u32 levels;
	__u32 nr_segments;
};

/* A run of addresses of one process. */
enum { SEGMENT_OK, SEGMENT_STALE, SEGMENT_NO_MEMORY };
struct segment {
	__u64 task; /* identity as `find_task` found it: address, start time and pid must all still agree */
	__u64 start_boottime;
	__u32 tgid;
	__u32 count;
	__u32 inspect; /* tell SHARED and the order of large folios for accessed pages */
	__u32 status; /* out */
	__u64 exec_id; /* out: changes with every exec */
};

struct table {
	__u64 entry[512];
};

struct found {
	__u64 task;
	__u64 start_boottime;
	__u32 tgid;
	__u32 has_memory;
	__u64 exec_id;
};

/* User space sets the real sizes before it loads the object. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} addresses SEC(".maps"), results SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct segment);
} segments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct table);
} copies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct found);
} found SEC(".maps");

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
	__u64 table; /* address of the table that holds it */
	__u32 level; /* 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB */
};

/* Walk down to `lowest` or to the leaf above it. */
static __always_inline struct leaf walk(const struct layout *l, __u64 pgd, __u64 address, __u32 lowest)
{
	struct leaf leaf = { .table = pgd };
	__u32 top = l->levels;

#pragma unroll
	for (int level = 5; level >= 1; level--) {
		__u64 entry;

		if (level > top)
			continue;
		if (level < lowest)
			break;
		entry = peek(leaf.table + ((address >> (3 + 9 * level)) & 511) * 8);
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
			leaf.table = pointee(l, entry);
			if (!leaf.table) {
				leaf.level = 0;
				leaf.entry = 0;
				break;
			}
		}
	}
	return leaf;
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
 * than once, and it splits a large folio that is given to it in part.
 */
static __always_inline __u64 inspect(const struct layout *l, __u64 entry, __u32 level)
{
	__u64 size = bpf_core_type_size(struct page), pfn = (entry & l->phys_mask) >> 12;
	__u64 page, head, order = level > 1 ? 9 * (level - 1) : 0;
	bool compound;

	if (entry & SPECIAL || pfn >= l->phys_end >> 12)
		return SHARED | order << ORDER_SHIFT;
	if (!l->vmemmap)
		return order << ORDER_SHIFT;
	page = l->vmemmap + pfn * size;
	head = BPF_CORE_READ((struct page *)page, compound_head);
	compound = head & 1;
	if (compound) {
		head -= 1;
	} else {
		/* The flags are the first word of struct page in every kernel, whatever type they have there. */
		head = page;
		compound = peek(page) >> 6 & 1;
	}
	if (compound && level == 1) {
		struct folio *folio = (void *)head;
		struct folio___before_6_6 *older = (void *)head;

		if (bpf_core_field_exists(older->_folio_order))
			order = BPF_CORE_READ(older, _folio_order) & 31;
		else if (bpf_core_field_exists(folio->_flags_1))
			order = BPF_CORE_READ(folio, _flags_1) & 31;
	}
	if (!is_mapped_once(page, compound, head, level, order))
		return SHARED | order << ORDER_SHIFT;
	return order << ORDER_SHIFT;
}

struct visit {
	const struct layout *layout;
	__u64 pgd;
	__u32 first; /* of this segment, in the maps */
	__u32 next; /* first of the next segment */
	__u32 inspect;
};

static long probe_one(__u32 i, struct visit *v)
{
	__u32 k = v->first + i;
	__u64 *address = bpf_map_lookup_elem(&addresses, &k), *result = bpf_map_lookup_elem(&results, &k);
	struct leaf leaf;
	__u64 out;

	if (!address || !result)
		return 1;
	leaf = walk(v->layout, v->pgd, *address, 1);
	out = (__u64)leaf.level << LEVEL_SHIFT;
	if (leaf.entry & (PRESENT | PROTNONE)) {
		__u64 entry = leaf.entry;

		/* The frame of the very page that was asked for, also inside a huge one. */
		if (leaf.level == 2)
			entry = (entry & ~0x1ff000ULL) | (*address & 0x1ff000ULL);
		else if (leaf.level == 3)
			entry = (entry & ~0x3ffff000ULL) | (*address & 0x3ffff000ULL);
		out |= (entry & (v->layout->phys_mask | FLAGS)) | PRESENT;
		if (v->inspect && entry & ACCESSED)
			out |= inspect(v->layout, entry, leaf.level);
	} else if (leaf.entry) {
		out |= SWAPPED;
	}
	*result = out;
	return 0;
}

static long copy_one(__u32 i, struct visit *v)
{
	__u32 k = v->first + i;
	__u64 *address = bpf_map_lookup_elem(&addresses, &k), *result = bpf_map_lookup_elem(&results, &k);
	struct table *copy = bpf_map_lookup_elem(&copies, &k);
	struct leaf leaf;
	__u64 table;

	if (!address || !result || !copy)
		return 1;
	leaf = walk(v->layout, v->pgd, *address, 2);
	if (leaf.entry & LEAF) {
		*result = (__u64)leaf.level << LEVEL_SHIFT | PRESENT | (leaf.entry & (v->layout->phys_mask | FLAGS));
		return 0;
	}
	*result = 0;
	table = leaf.entry ? pointee(v->layout, leaf.entry) : 0;
	if (table && !bpf_probe_read_kernel(copy, sizeof(*copy), (void *)table))
		*result = 1ULL << LEVEL_SHIFT;
	return 0;
}

static __always_inline void enter(struct segment *s, struct visit *v)
{
	struct task_struct *task = (void *)s->task;
	struct mm_struct *mm;

	v->pgd = 0;
	if (BPF_CORE_READ(task, tgid) != s->tgid || BPF_CORE_READ(task, start_boottime) != s->start_boottime) {
		s->status = SEGMENT_STALE;
		return;
	}
	mm = BPF_CORE_READ(task, mm);
	if (!mm) {
		s->status = SEGMENT_NO_MEMORY;
		return;
	}
	s->exec_id = BPF_CORE_READ(task, self_exec_id);
	s->status = SEGMENT_OK;
	v->pgd = (__u64)BPF_CORE_READ(mm, pgd);
	v->inspect = s->inspect;
}

static __always_inline struct segment *next_segment(__u32 i, struct visit *v)
{
	struct segment *s = bpf_map_lookup_elem(&segments, &i);

	if (!s)
		return NULL;
	v->first = v->next;
	v->next += s->count;
	enter(s, v);
	return s;
}

static long probe_segment(__u32 i, struct visit *v)
{
	struct segment *s = next_segment(i, v);

	if (!s)
		return 1;
	if (v->pgd)
		bpf_loop(s->count, probe_one, v, 0);
	return 0;
}

static long copy_segment(__u32 i, struct visit *v)
{
	struct segment *s = next_segment(i, v);

	if (!s)
		return 1;
	if (v->pgd)
		bpf_loop(s->count, copy_one, v, 0);
	return 0;
}

SEC("syscall")
int probe(struct layout *l)
{
	struct layout layout = *l;
	struct visit v = { .layout = &layout };

	bpf_loop(layout.nr_segments, probe_segment, &v, 0);
	return 0;
}

SEC("syscall")
int tables(struct layout *l)
{
	struct layout layout = *l;
	struct visit v = { .layout = &layout };

	bpf_loop(layout.nr_segments, copy_segment, &v, 0);
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
	__u64 pgd;
	__u64 top;
	__u32 agreed;
};

static long recognise_page(__u32 i, struct try *t)
{
	const struct search *s = t->search;
	struct leaf leaf = walk(t->layout, t->pgd, s->address + i * 4096ULL, 1);
	__u64 page = leaf.level == 1 && leaf.entry & PRESENT ? pointee(t->layout, leaf.entry) : 0;

	if (!page || peek(page) != s->magic + i)
		return 1;
	t->agreed++;
	return 0;
}

static long try_direct_map(__u32 i, struct try *t)
{
	t->layout->direct_map = t->top - i * GIB;
	t->agreed = 0;
	bpf_loop(t->search->nr_pages, recognise_page, t, 0);
	return t->agreed == t->search->nr_pages;
}

static long recognise_folio(__u32 i, struct try *t)
{
	const struct search *s = t->search;
	__u64 address = s->address + i * 4096ULL;
	struct leaf leaf = walk(t->layout, t->pgd, address, 1);
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

	t.pgd = (__u64)BPF_CORE_READ(task, mm, pgd);
	t.top = t.pgd & ~(GIB - 1);
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
