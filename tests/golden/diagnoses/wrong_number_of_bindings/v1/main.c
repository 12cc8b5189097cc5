struct map { void *value; };
struct map *map;
