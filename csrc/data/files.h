/* Reading the files of a data set. */
#ifndef PK_DATA_FILES_H
#define PK_DATA_FILES_H

#include "data/pictures.h"

/* All bytes of file i into the scratch. */
pk_status pk_files_read(const pk_files *files, int64_t i, pk_scratch *scratch, int64_t *size);

#endif
