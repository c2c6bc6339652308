// The YEAR mask: dates and timestamps cut to 1 January of their year.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postern::mask {

// A year as Postgres counts: 1 BC is 0, 2 BC is -1.
//
// Of a date or timestamp in any DateStyle (ISO; SQL and German, either order of day and month; Postgres). nullopt for
// infinity and for anything else.
std::optional<int64_t> YearOfText(std::string_view text);
// Of days and of microseconds since 2000-01-01, the binary forms. nullopt for infinity.
std::optional<int64_t> YearOfDays(int32_t days);
std::optional<int64_t> YearOfMicroseconds(int64_t microseconds);

// Days from 2000-01-01 to 1 January of `year`.
int64_t DaysToYear(int64_t year);
// "2023-01-01" + `suffix`, "0044-01-01" + `suffix` + " BC": ISO, which every DateStyle reads.
void AppendFirstOfYear(int64_t year, std::string_view suffix, std::string* out);

// True if 1 January of `year` is in the range of date (which begins in November 4714 BC) and of timestamp.
bool YearInRange(int64_t year, bool timestamp);

}  // namespace postern::mask
