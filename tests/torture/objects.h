/* objects.h: objects that tell whether they are still whole, and references to them.
 *
 * An object has a number, and from it follow its size, how it is allocated, what is written into it
 * and how many references it has room for. A reference holds an object's address, in one of several
 * disguises that the number chooses, and the number. So whoever follows a reference can tell whether
 * the object is there: it is an allocated block, and every word of it is as it was written. Memory
 * that the collector took by mistake is soon written to by others, and each object has exactly one
 * reference, which moves: the collector must find it wherever it is.
 *
 * The memory comes from malloc, or with OBJECTS_OWN from functions that the including file defines.
 */
#ifndef TESTS_TORTURE_OBJECTS_H
#define TESTS_TORTURE_OBJECTS_H

#include "tests/check.h"

#include <malloc.h>

struct ref {
	uintptr_t word;                         /* 0: none */
	uint64_t  serial;
};

struct object {
	uint64_t   serial;
	uint64_t   check;                       /* of the number and the address */
	struct ref ref[];                       /* object_nrefs(serial), then the pattern */
};

#define OBJECT_TAG ((uintptr_t)0xa5 << 56)

static inline uint64_t object_hash(uint64_t serial)
{
	uint64_t h = (serial + 1) * UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 29;
	h *= UINT64_C(0xbf58476d1ce4e5b9);
	return h ^ h >> 32;
}

/* Mostly leaves and pairs; a few have hundreds, so that some are large. */
static inline size_t object_nrefs(uint64_t serial)
{
	uint64_t r = object_hash(serial) % 1000;

	return r < 990 ? r % 5 : r < 999 ? 5 + r * 37 % 120 : 5000 + serial % 5000;
}

static inline size_t object_bytes(uint64_t serial)
{
	uint64_t r = object_hash(serial) >> 20;
	unsigned shift = (unsigned)(r % 100 < 85 ? 7 : r % 100 < 98 ? 10 : r % 1000 < 998 ? 13 : 16);
	size_t extra = (size_t)((r >> 10) % ((uint64_t)1 << shift));

	return sizeof(struct object) + object_nrefs(serial) * sizeof(struct ref) + extra;
}

static inline uint64_t object_check_word(const struct object *o, uint64_t serial)
{
	return object_hash(serial ^ ~(uint64_t)(uintptr_t)o);
}

#ifdef OBJECTS_OWN
static void *object_memory(uint64_t serial, size_t nbytes);
static void object_free(void *p);
static bool object_is_block(void *p, size_t nbytes);
static void object_lost(const struct object *o, uint64_t serial, const char *how);
#else
/* Every way to allocate; each gives at least nbytes. */
static inline void *object_memory(uint64_t serial, size_t nbytes)
{
	void *p = NULL;

	switch (object_hash(serial) >> 40 & 15) {
	case 0:
	case 1:
		p = calloc(1, nbytes);
		CHECK(p && all_zero(p, nbytes));
		break;
	case 2:
		CHECK(posix_memalign(&p, (size_t)16 << serial % 9, nbytes) == 0);
		break;
	case 3:
		p = realloc(malloc(nbytes / 2), nbytes);
		break;
	case 4:
		p = realloc(malloc(nbytes * 2), nbytes);
		break;
	default:
		p = malloc(nbytes);
	}
	CHECK(p);
	return p;
}

static inline void object_free(void *p)
{
	free(p);
}

/* A block that is not allocated any more is misuse: the library says so, and ends the program. */
static inline bool object_is_block(void *p, size_t nbytes)
{
	return malloc_usable_size(p) >= nbytes;
}

static inline void object_lost(const struct object *o, uint64_t serial, const char *how)
{
	CHECKF(false, "object %llu at %p is lost: %s; there is %llx %llx", (unsigned long long)serial,
	       (const void *)o, how, (unsigned long long)o->serial, (unsigned long long)o->check);
}
#endif

/* The address as the reference holds it: as it is, inside, tagged, one past the end, odd. */
static inline uintptr_t object_disguise(const struct object *o, uint64_t serial)
{
	uintptr_t p = (uintptr_t)o;

	switch (serial % 8) {
	case 4:
		return p + sizeof *o;
	case 5:
		return p | OBJECT_TAG;
	case 6:
		return p + object_bytes(serial);
	case 7:
		return p + 1;
	default:
		return p;
	}
}

static inline struct object *ref_object(struct ref r)
{
	uintptr_t nothing = object_disguise(NULL, r.serial);

	return r.word ? (struct object *)(r.word - nothing) : NULL;
}

/* What lies behind the references; of large ones both ends. */
#define OBJECT_LOOKED_AT 512

static inline void object_write(struct object *o, uint64_t serial)
{
	size_t nrefs = object_nrefs(serial);
	unsigned char *rest = (unsigned char *)&o->ref[nrefs];
	size_t nbytes = (size_t)((unsigned char *)o + object_bytes(serial) - rest);

	o->serial = serial;
	o->check = object_check_word(o, serial);
	memset(o->ref, 0, nrefs * sizeof *o->ref);
	pattern_fill(rest, nbytes, serial);
}

static inline struct ref object_make(uint64_t serial)
{
	struct object *o = object_memory(serial, object_bytes(serial));

	object_write(o, serial);
	return (struct ref){ object_disguise(o, serial), serial };
}

static inline bool object_pattern_holds(const struct object *o, uint64_t serial)
{
	const unsigned char *rest = (const unsigned char *)&o->ref[object_nrefs(serial)];
	size_t nbytes = (size_t)((const unsigned char *)o + object_bytes(serial) - rest);

	return pattern_holds(rest, nbytes < OBJECT_LOOKED_AT ? nbytes : OBJECT_LOOKED_AT, serial);
}

/* Is what the reference leads to what it should be? */
static inline struct object *object_look(struct ref r)
{
	struct object *o = ref_object(r);

	if (!o)
		return NULL;
	if (o->serial != r.serial || o->check != object_check_word(o, r.serial))
		object_lost(o, r.serial, "another object, or none");
	else if (!object_is_block(o, object_bytes(r.serial)))
		object_lost(o, r.serial, "no block");
	else if (!object_pattern_holds(o, r.serial))
		object_lost(o, r.serial, "written to");
	return o;
}

/* Looks at all that it leads to, and frees it if asked; how many objects. */
static inline size_t object_walk(struct ref r, bool is_freed)
{
	struct object *o = object_look(r);
	size_t n = 1;

	if (!o)
		return 0;
	for (size_t i = 0; i < object_nrefs(r.serial); i++)
		n += object_walk(o->ref[i], is_freed);
	if (is_freed)
		object_free(o);
	return n;
}

#endif
