/* maps.c: see maps.h. Reached from roots.c, kernel.c, guard.c, thread_stacks.c, why_root.c and preload/leaks.c; depends
 * on peek.c. */
#include "scan/maps.h"

#include "scan/peek.h"

uintptr_t maps_hex(const char **text)
{
	uintptr_t n = 0;

	for (;; (*text)++) {
		char c = **text;

		if (c >= '0' && c <= '9')
			n = n << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			n = n << 4 | (uintptr_t)(c - 'a' + 10);
		else
			return n;
	}
}

static const char *skip_word(const char *at)
{
	while (*at && *at != ' ')
		at++;
	while (*at == ' ')
		at++;
	return at;
}

/* "from-to rwxp offset major:minor inode    name" */
bool maps_parse(const char *line, struct mapping *m)
{
	const char *at = line;

	m->from = maps_hex(&at);
	if (*at++ != '-')
		return false;
	m->to = maps_hex(&at);
	if (*at++ != ' ' || m->to <= m->from)
		return false;
	for (int i = 0; i < 4; i++) {
		if (!at[i])
			return false;
	}
	m->is_readable = at[0] == 'r';
	m->is_writable = at[1] == 'w';
	m->is_executable = at[2] == 'x';
	m->is_shared = at[3] == 's';
	at = skip_word(skip_word(skip_word(at)));
	for (m->inode = 0; *at >= '0' && *at <= '9'; at++)
		m->inode = m->inode * 10 + (uint64_t)(*at - '0');
	while (*at == ' ')
		at++;
	m->name = at;
	return true;
}

struct visit {
	bool (*fn)(const struct mapping *m, void *arg);
	void *arg;
	uintptr_t end;                          /* of what was shown */
};

static bool show(char *line, void *arg)
{
	struct visit *v = arg;
	struct mapping m;

	/* A mapping that grew between two reads comes again. */
	if (!maps_parse(line, &m) || m.to <= v->end)
		return true;
	if (m.from < v->end)
		m.from = v->end;
	v->end = m.to;
	return v->fn(&m, v->arg);
}

bool maps_visit(bool (*fn)(const struct mapping *m, void *arg), void *arg)
{
	struct visit v = { .fn = fn, .arg = arg };

	return peek_lines("/proc/thread-self/maps", show, &v);
}

struct search {
	uintptr_t p;
	struct mapping *found;
	bool is_found;
};

static bool is_around(const struct mapping *m, void *arg)
{
	struct search *s = arg;

	if (s->p >= m->to)
		return true;
	s->is_found = s->p >= m->from;
	*s->found = *m;
	s->found->name = "";
	return false;
}

bool maps_find(uintptr_t p, struct mapping *found)
{
	struct search s = { .p = p, .found = found };

	return maps_visit(is_around, &s) && s.is_found;
}
