/* pagemap.h: PAGEMAP_SCAN, an ioctl of /proc/PID/pagemap, as <linux/fs.h> of Linux 6.7 has it. */
#ifndef SCAN_PAGEMAP_H
#define SCAN_PAGEMAP_H

#include <stdint.h>
#include <sys/ioctl.h>

struct pm_region {
	uint64_t start, end, categories;
};

struct pm_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PM_SCAN _IOWR('f', 16, struct pm_scan)

/* Flags. */
#define PM_WP_MATCHING 1
#define PM_CHECK_WPASYNC 2

/* Categories. */
#define PM_WRITTEN 2
#define PM_FILE 4
#define PM_PRESENT 8
#define PM_SWAPPED 16
#define PM_ZERO 32                              /* the page that all untouched memory shares */

#endif
