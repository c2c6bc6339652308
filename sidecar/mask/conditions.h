// Names of SQLSTATEs: https://www.postgresql.org/docs/15/errcodes-appendix.html.
#pragma once

#include <string_view>

namespace postern::mask {

// "unique violation" for 23505; the name of the class for codes that have no row; "error" when that is unknown, too.
// `sqlstate` has five characters.
std::string_view ConditionName(std::string_view sqlstate);

}  // namespace postern::mask
