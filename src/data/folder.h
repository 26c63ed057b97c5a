/*
 * folder: what the sources that read a folder of pictures share. listing.c walks the tree, splits.c
 * keeps the pictures of one split, folder.c reads them.
 */
#ifndef SUMI_DATA_FOLDER_H
#define SUMI_DATA_FOLDER_H

#include "data/data.h"

typedef struct {
    char *path;
    int class; /* -1: of no class */
} sumi_picture_path;

/* Files that are no pictures, or of a kind that sumi does not read, by their ending. */
typedef struct {
    char ending[16]; /* in lower case, with its dot; "" where there is none */
    size_t count;
    char *example; /* below the folder */
    bool picture;
} sumi_left_out;

typedef struct sumi_folder_id sumi_folder_id;

/* Zero it before use. */
typedef struct {
    size_t limit; /* of pictures, after which nothing more is looked for; 0: none */
    size_t root;  /* bytes of a path that name the folder, its slash included */
    sumi_picture_path *pictures;
    size_t count, capacity;
    sumi_folder_id *seen; /* folders already listed: a loop of links ends there */
    size_t seen_count, seen_capacity;
    sumi_left_out *left_out;
    size_t left_out_count, left_out_capacity, other_files;
    size_t runs; /* of sumi, whose pictures are not listed */
    char *run;   /* the first of them, below the folder */
    sumi_error *err;
} sumi_listing;

/* Lists all pictures below folder, each folder's entries in order of their bytes: a folder's
 * pictures lie together. What is hidden, what file managers leave behind and the runs of sumi are
 * passed over. */
sumi_status sumi_listing_read(sumi_listing *list, const char *folder, sumi_error *err);
void sumi_listing_free(sumi_listing *list);
/* Gives each picture the class of the folder that its path below root names first, in order; none,
 * where a picture lies in root itself. names: [*count], to be freed with what is in it. */
sumi_status sumi_listing_classes(sumi_listing *list, size_t root, char ***names, int *count);
/* "7 .webp (a.webp), 1 .txt (notes/b.txt)"; pictures tells whether any of them is a picture. */
void sumi_listing_left_out(const sumi_listing *list, char *out, size_t size, bool *pictures);
/* Whether the folder is a run directory. */
bool sumi_folder_is_run(const char *folder);

/* Which of a folder's pictures are those of a split. */
typedef struct {
    char folder[4096]; /* all that is read lies in it; its sub-folders are the classes */
    bool relist;       /* folder is not what was listed, and holds no other split: list it anew */
    size_t root;       /* bytes of a path that name folder, its slash included */
    char splits[1024]; /* what was read as splits, as a line for the reader; "" where nothing was */
} sumi_split_choice;

/* Sub-folders called train, test, val or the like are splits where they hold pictures and nothing
 * else beside them does; one level further down, where train is not alone. Keeps the pictures of
 * the split in the list. SUMI_EINVAL where names of splits stand among folders that are none, where
 * two are the same split, or where there is no test split; SUMI_EIO where there is no train split.
 */
sumi_status sumi_splits_choose(sumi_listing *list, const char *folder, int split,
                               sumi_split_choice *choice, sumi_error *err);

#endif
