#include "common/sql/analyzer.h"

namespace postern::sql::internal {

std::string_view ObjectTypeWord(::ObjectType type) {
  switch (type) {
    case OBJECT_ACCESS_METHOD:
      return "ACCESS METHOD";
    case OBJECT_AGGREGATE:
      return "AGGREGATE";
    case OBJECT_CAST:
      return "CAST";
    case OBJECT_COLLATION:
      return "COLLATION";
    case OBJECT_CONVERSION:
      return "CONVERSION";
    case OBJECT_DATABASE:
      return "DATABASE";
    case OBJECT_DOMAIN:
    case OBJECT_DOMCONSTRAINT:
      return "DOMAIN";
    case OBJECT_EVENT_TRIGGER:
      return "EVENT TRIGGER";
    case OBJECT_EXTENSION:
      return "EXTENSION";
    case OBJECT_FDW:
      return "FOREIGN DATA WRAPPER";
    case OBJECT_FOREIGN_SERVER:
      return "SERVER";
    case OBJECT_FOREIGN_TABLE:
      return "FOREIGN TABLE";
    case OBJECT_FUNCTION:
      return "FUNCTION";
    case OBJECT_INDEX:
      return "INDEX";
    case OBJECT_LANGUAGE:
      return "LANGUAGE";
    case OBJECT_LARGEOBJECT:
      return "LARGE OBJECT";
    case OBJECT_MATVIEW:
      return "MATERIALIZED VIEW";
    case OBJECT_OPCLASS:
      return "OPERATOR CLASS";
    case OBJECT_OPERATOR:
      return "OPERATOR";
    case OBJECT_OPFAMILY:
      return "OPERATOR FAMILY";
    case OBJECT_POLICY:
      return "POLICY";
    case OBJECT_PROCEDURE:
      return "PROCEDURE";
    case OBJECT_PUBLICATION:
      return "PUBLICATION";
    case OBJECT_ROLE:
      return "ROLE";
    case OBJECT_ROUTINE:
      return "ROUTINE";
    case OBJECT_RULE:
      return "RULE";
    case OBJECT_SCHEMA:
      return "SCHEMA";
    case OBJECT_SEQUENCE:
      return "SEQUENCE";
    case OBJECT_STATISTIC_EXT:
      return "STATISTICS";
    case OBJECT_SUBSCRIPTION:
      return "SUBSCRIPTION";
    case OBJECT_TABLESPACE:
      return "TABLESPACE";
    case OBJECT_TRANSFORM:
      return "TRANSFORM";
    case OBJECT_TRIGGER:
      return "TRIGGER";
    case OBJECT_TSCONFIGURATION:
      return "TEXT SEARCH CONFIGURATION";
    case OBJECT_TSDICTIONARY:
      return "TEXT SEARCH DICTIONARY";
    case OBJECT_TSPARSER:
      return "TEXT SEARCH PARSER";
    case OBJECT_TSTEMPLATE:
      return "TEXT SEARCH TEMPLATE";
    case OBJECT_ATTRIBUTE:
    case OBJECT_TYPE:
      return "TYPE";
    case OBJECT_VIEW:
      return "VIEW";
    default:
      return "TABLE";
  }
}

}  // namespace postern::sql::internal
