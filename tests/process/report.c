/* report.c: SPANGC_REPORT names the file for the statistics at exit: %p, %e, %n and %% in it; a
 * file of its own for each report with %n, else appended; mode 0600. What stands in the way (a
 * symbolic link, a directory, somebody else's file, a FIFO that nobody reads, no place) is one
 * line on stderr, and the report follows there. malloc_stats() stays on stderr.
 */
#include "tests/process/process.h"

#include <malloc.h>
#include <sys/stat.h>

#define HEAD "STATS: spangc: memory small"

static char dir[] = "/tmp/spangc-report-XXXXXX";
static const char *report;

static void set_report(void)
{
	umask(022);
	CHECK(chdir(dir) == 0);
	setenv("SPANGC_STATS", "1", 1);
	setenv("SPANGC_REPORT", report, 1);
}

/* Runs a child with that name for reports; its pid. */
static pid_t run(const char *name, struct outcome *o)
{
	char *argv[] = { "not the name", "child", NULL };

	report = name;

	pid_t child = run_file(o, "/proc/self/exe", argv, set_report);

	CHECKF(ended_well(o), "%s: %x %s", name, (unsigned)o->status, o->err);
	return child;
}

static const char *in_dir(const char *name)
{
	static char path[sizeof dir + 300];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

/* How many reports the file has; it must be 0600. */
static unsigned nreports(const char *name)
{
	const char *text = proc_text(in_dir(name));
	unsigned n = 0;
	struct stat st;

	CHECK(stat(in_dir(name), &st) == 0);
	CHECKF((st.st_mode & 07777) == 0600, "%o", st.st_mode);
	for (const char *p = text; (p = strstr(p, HEAD)); p++)
		n++;
	return n;
}

static void goes_to_a_file(void)
{
	struct outcome o;
	char name[200];
	pid_t pid;

	pid = run("plain", &o);
	CHECKF(!o.nlines && nreports("plain") == 1, "%s", o.err);
	run(in_dir("plain"), &o);
	CHECK(!o.nlines && nreports("plain") == 2);
	pid = run("%e.%p.100%%", &o);
	/* The name under which it was executed, whatever argv[0] says. */
	snprintf(name, sizeof name, "exe.%d.100%%", (int)pid);
	CHECKF(!o.nlines && nreports(name) == 1, "%s", o.err);
	for (unsigned i = 1; i <= 3; i++) {
		run("numbered.%n", &o);
		snprintf(name, sizeof name, "numbered.%u", i);
		CHECKF(!o.nlines && nreports(name) == 1, "%s: %s", name, o.err);
	}
}

static void is_refused(const char *name, const char *why)
{
	struct outcome o;
	char line[500];

	run(name, &o);
	snprintf(line, sizeof line, "spangc: SPANGC_REPORT=%s: %s; the report follows here\n", name,
	         why);
	CHECKF(strncmp(o.err, line, strlen(line)) == 0, "%s: %s", name, o.err);
	CHECKF(strstr(o.err, HEAD), "%s: %s", name, o.err);
}

static void says_what_is_in_the_way(void)
{
	char deep[300];
	struct stat st;

	CHECK(symlink("target", in_dir("link")) == 0);
	is_refused("link", "is a symbolic link");
	CHECK(stat(in_dir("target"), &st) < 0);
	CHECK(mkdir(in_dir("directory"), 0700) == 0);
	is_refused("directory", "is a directory");
	is_refused("no/such", "no such directory");
	is_refused("plain/below", "no such directory");
	CHECK(mkfifo(in_dir("fifo"), 0600) == 0);
	is_refused("fifo", "nobody reads this FIFO");
	memset(deep, 'a', sizeof deep);
	deep[sizeof deep - 1] = '\0';
	is_refused(deep, "the name is too long");
	if (geteuid() == 0) {
		int fd = open(in_dir("theirs"), O_CREAT | O_WRONLY, 0666);

		CHECK(fd >= 0 && fchown(fd, 65534, 65534) == 0 && close(fd) == 0);
		is_refused("theirs", "belongs to another user");
		CHECK(stat(in_dir("theirs"), &st) == 0 && st.st_size == 0);
	}
}

static void into_a_device(void)
{
	struct outcome o;

	run("/dev/null", &o);
	CHECKF(!o.nlines, "%s", o.err);
	run("stderr", &o);
	CHECK(strstr(o.err, HEAD));
}

static int child(const char *how)
{
	if (strcmp(how, "child") == 0)
		return 0;
	malloc_stats();
	return 0;
}

static void malloc_stats_is_on_stderr(void)
{
	struct outcome o;

	report = "by_call";
	run_self(&o, "malloc_stats", set_report);
	CHECK(ended_well(&o) && strstr(o.err, HEAD) && nreports("by_call") == 1);
}

int main(int argc, char **argv)
{
	char rm[sizeof dir + 20];

	if (argc > 1)
		return child(argv[1]);
	CHECK(mkdtemp(dir));
	goes_to_a_file();
	says_what_is_in_the_way();
	into_a_device();
	malloc_stats_is_on_stderr();
	snprintf(rm, sizeof rm, "rm -r %s", dir);
	CHECK(system(rm) == 0);
	return 0;
}
