// What masking knows of Postgres's built-in types: a harmless constant of each, in both wire formats.
//
// OIDs below 10000 are fixed by pg_type.dat for ever. Binary forms are those of each type's send/receive function
// (src/backend/utils/adt). The integration test feeds every constant back to a real server.
#pragma once

#include <cstddef>
#include <string_view>

#include "common/sql/catalog.h"

namespace postern::mask {

enum class TypeClass {
  kUnknown,      // enums, composites, extension types: only NULL is surely valid
  kConstant,     // only its constant
  kText,         // text, varchar …: any UTF-8 text
  kName,         // UTF-8 text of at most kLongestName bytes
  kBlankPadded,  // char(n)
  kUuid,
  kDate,
  kTimestamp,
  kTimestampTz,
  kArray,  // the empty array, whose binary form repeats the element type
};

inline constexpr size_t kLongestName = 63;

struct TypeInfo {
  TypeClass type_class = TypeClass::kUnknown;
  // The redaction constant.
  std::string_view text;
  std::string_view binary;
};

// Never fails: types that are not known are kUnknown.
TypeInfo FindType(sql::Oid type);

}  // namespace postern::mask
