#include "sidecar/mask/pg_types.h"

#include <algorithm>
#include <iterator>

#include "sidecar/mask/text_masks.h"

namespace postern::mask {
namespace {

using namespace std::string_view_literals;  // NOLINT: for ""sv

constexpr std::string_view kZero4 = "\0\0\0\0"sv;
constexpr std::string_view kZero8 = "\0\0\0\0\0\0\0\0"sv;
constexpr std::string_view kZero12 = "\0\0\0\0\0\0\0\0\0\0\0\0"sv;
constexpr std::string_view kZero16 = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
constexpr std::string_view kZero24 = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
constexpr std::string_view kZero32 = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
// 1970-01-01 counted from 2000-01-01: -10957 days, -946684800000000 microseconds.
constexpr std::string_view kEpochDate = "\xff\xff\xd5\x33"sv;
constexpr std::string_view kEpochTimestamp = "\xff\xfc\xa2\xfe\xc4\xc8\x20\x00"sv;
// The line x = 0; A and B must not both be zero.
constexpr std::string_view kLine = "\x3f\xf0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
// A closed path, and a polygon, of the one point (0,0).
constexpr std::string_view kPath = "\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
constexpr std::string_view kPolygon = "\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
// Family (2: IPv4), bits, is_cidr, length, address.
constexpr std::string_view kInet = "\2\x20\0\4\0\0\0\0"sv;
constexpr std::string_view kCidr = "\2\x20\1\4\0\0\0\0"sv;
constexpr std::string_view kEmptyRange = "\1"sv;

struct Row {
  sql::Oid oid;
  TypeInfo info;
};

constexpr TypeInfo Constant(std::string_view text, std::string_view binary) {
  return {TypeClass::kConstant, text, binary};
}
constexpr TypeInfo kAnyText{TypeClass::kText, kRedacted, kRedacted};

// Sorted by OID.
constexpr Row kTypes[] = {
    {16, Constant("f", "\0"sv)},                                                   // bool
    {17, Constant(kRedactedBytea, kRedacted)},                                     // bytea
    {18, Constant("*", "*")},                                                      // "char"
    {19, {TypeClass::kName, kRedacted, kRedacted}},                                // name
    {20, Constant("0", kZero8)},                                                   // int8
    {21, Constant("0", "\0\0"sv)},                                                 // int2
    {23, Constant("0", kZero4)},                                                   // int4
    {24, Constant("-", kZero4)},                                                   // regproc
    {25, kAnyText},                                                                // text
    {26, Constant("0", kZero4)},                                                   // oid
    {27, Constant("(0,0)", "\0\0\0\0\0\0"sv)},                                     // tid
    {28, Constant("0", kZero4)},                                                   // xid
    {29, Constant("0", kZero4)},                                                   // cid
    {114, Constant(kRedactedJson, kRedactedJson)},                                 // json
    {142, Constant(kRedactedXml, kRedactedXml)},                                   // xml
    {600, Constant("(0,0)", kZero16)},                                             // point
    {601, Constant("[(0,0),(0,0)]", kZero32)},                                     // lseg
    {602, Constant("((0,0))", kPath)},                                             // path
    {603, Constant("(0,0),(0,0)", kZero32)},                                       // box
    {604, Constant("((0,0))", kPolygon)},                                          // polygon
    {628, Constant("{1,0,0}", kLine)},                                             // line
    {650, Constant("0.0.0.0/32", kCidr)},                                          // cidr
    {700, Constant("0", kZero4)},                                                  // float4
    {701, Constant("0", kZero8)},                                                  // float8
    {705, kAnyText},                                                               // unknown
    {718, Constant("<(0,0),0>", kZero24)},                                         // circle
    {774, Constant("00:00:00:00:00:00:00:00", kZero8)},                            // macaddr8
    {790, Constant("0", kZero8)},                                                  // money
    {829, Constant("00:00:00:00:00:00", "\0\0\0\0\0\0"sv)},                        // macaddr
    {869, Constant("0.0.0.0", kInet)},                                             // inet
    {1042, {TypeClass::kBlankPadded, kRedacted, kRedacted}},                       // bpchar
    {1043, kAnyText},                                                              // varchar
    {1082, {TypeClass::kDate, "1970-01-01", kEpochDate}},                          // date
    {1083, Constant("00:00:00", kZero8)},                                          // time
    {1114, {TypeClass::kTimestamp, "1970-01-01 00:00:00", kEpochTimestamp}},       // timestamp
    {1184, {TypeClass::kTimestampTz, "1970-01-01 00:00:00+00", kEpochTimestamp}},  // timestamptz
    {1186, Constant("00:00:00", kZero16)},                                         // interval
    {1266, Constant("00:00:00+00", kZero12)},                                      // timetz
    {1560, Constant("", kZero4)},                                                  // bit
    {1562, Constant("", kZero4)},                                                  // varbit
    {1700, Constant("0", kZero8)},                                                 // numeric
    {1790, kAnyText},                                                              // refcursor
    {2202, Constant("-", kZero4)},                                                 // regprocedure
    {2203, Constant("0", kZero4)},                                                 // regoper
    {2204, Constant("0", kZero4)},                                                 // regoperator
    {2205, Constant("-", kZero4)},                                                 // regclass
    {2206, Constant("-", kZero4)},                                                 // regtype
    {2275, kAnyText},                                                              // cstring
    {2950, {TypeClass::kUuid, kRedactedUuid, kRedactedUuidBinary}},                // uuid
    {3220, Constant("0/0", kZero8)},                                               // pg_lsn
    {3614, Constant("", kZero4)},                                                  // tsvector
    {3615, Constant("", kZero4)},                                                  // tsquery
    {3734, Constant("-", kZero4)},                                                 // regconfig
    {3769, Constant("-", kZero4)},                                                 // regdictionary
    {3802, Constant(kRedactedJson, kRedactedJsonb)},                               // jsonb
    {3904, Constant("empty", kEmptyRange)},                                        // int4range
    {3906, Constant("empty", kEmptyRange)},                                        // numrange
    {3908, Constant("empty", kEmptyRange)},                                        // tsrange
    {3910, Constant("empty", kEmptyRange)},                                        // tstzrange
    {3912, Constant("empty", kEmptyRange)},                                        // daterange
    {3926, Constant("empty", kEmptyRange)},                                        // int8range
    {4072, Constant("$", "\1$"sv)},                                                // jsonpath
    {4089, Constant("-", kZero4)},                                                 // regnamespace
    {4096, Constant("-", kZero4)},                                                 // regrole
    {4191, Constant("-", kZero4)},                                                 // regcollation
    {4451, Constant("{}", kZero4)},                                                // int4multirange
    {4532, Constant("{}", kZero4)},                                                // nummultirange
    {4533, Constant("{}", kZero4)},                                                // tsmultirange
    {4534, Constant("{}", kZero4)},                                                // tstzmultirange
    {4535, Constant("{}", kZero4)},                                                // datemultirange
    {4536, Constant("{}", kZero4)},                                                // int8multirange
    {5069, Constant("0", kZero8)},                                                 // xid8
};

// Arrays of the types above and of other built-in ones; sorted. int2vector and oidvector are not arrays to their
// receive functions, which refuse an empty one.
constexpr sql::Oid kArrays[] = {
    143,  199,  271,  629,  651,  719,  775,  791,  1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008,
    1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017, 1018, 1019, 1020, 1021, 1022, 1027, 1028,
    1034, 1040, 1041, 1115, 1182, 1183, 1185, 1187, 1231, 1263, 1270, 1561, 1563, 2201, 2207, 2208,
    2209, 2210, 2211, 2949, 2951, 3221, 3643, 3644, 3645, 3735, 3770, 3807, 3905, 3907, 3909, 3911,
    3913, 3927, 4073, 4090, 4097, 4192, 5039, 6150, 6151, 6152, 6153, 6155, 6157,
};

constexpr bool ByOid(const Row& row, sql::Oid oid) { return row.oid < oid; }

static_assert(std::is_sorted(std::begin(kArrays), std::end(kArrays)));
static_assert(std::is_sorted(std::begin(kTypes), std::end(kTypes),
                             [](const Row& a, const Row& b) { return a.oid < b.oid; }));

}  // namespace

TypeInfo FindType(sql::Oid type) {
  const Row* row = std::lower_bound(std::begin(kTypes), std::end(kTypes), type, ByOid);
  if (row != std::end(kTypes) && row->oid == type) return row->info;
  if (std::binary_search(std::begin(kArrays), std::end(kArrays), type)) return {TypeClass::kArray, "{}", {}};
  return {};
}

}  // namespace postern::mask
