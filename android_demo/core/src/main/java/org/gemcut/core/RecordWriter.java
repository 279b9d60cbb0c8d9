package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** Known members of an object in a fixed order. */
final class RecordWriter extends Writer {
    /** One field of a record. */
    static final class Field {
        final String key;
        final String before;
        final String after;
        final String when;
        final boolean joined;
        final Writer writer;

        Field(Fields fields, Names names) throws BundleException {
            key = fields.string("key");
            before = fields.string("before");
            after = fields.string("after");
            when = fields.oneOf("when", "present", "truthy", "always", "required");
            joined = fields.bool("joined");
            writer = orNull(fields.get("writer"), fields.where("writer"), names);
            fields.done();
        }
    }

    final String open;
    final String between;
    final String close;
    final List<Field> fields = new ArrayList<Field>();
    final List<String> refuses;
    final boolean refusesOthers;

    RecordWriter(Fields from, Names names) throws BundleException {
        open = from.string("open");
        between = from.string("between");
        close = from.string("close");
        for (Fields one : from.list("fields")) {
            fields.add(new Field(one, names));
        }
        refuses = from.strings("refuses");
        refusesOthers = from.oneOf("others", "ignore", "refuse").equals("refuse");
    }

    private boolean knows(String key) {
        for (Field field : fields) {
            if (field.key.equals(key)) {
                return true;
            }
        }
        return false;
    }

    @Override
    void put(JsonElement given, StringBuilder out, int depth) throws BundleException {
        if (given == null || !given.isJsonObject()) {
            throw wrong(given, "an object");
        }
        JsonObject object = given.getAsJsonObject();
        refuse(refuses, object);
        if (refusesOthers) {
            for (Map.Entry<String, JsonElement> one : object.entrySet()) {
                if (!knows(one.getKey())) {
                    refuse(Collections.singletonList(one.getKey()), object);
                }
            }
        }
        out.append(open);
        boolean joined = false;
        for (Field field : fields) {
            JsonElement value = object.get(field.key);
            boolean there = !Json.isNull(value);
            if (!there && field.when.equals("required")) {
                throw refused(Words.quoted(field.key) + " is missing in a tool: the template can't do without");
            }
            if (!there && !field.when.equals("always") || field.when.equals("truthy") && !truthy(value)) {
                continue;
            }
            if (field.joined) {
                out.append(joined ? between : "");
                joined = true;
            }
            out.append(field.before);
            if (there && field.writer != null) {
                field.writer.write(value, out, depth + 1);
            }
            out.append(field.after);
        }
        out.append(close);
    }

    private static boolean truthy(JsonElement value) {
        if (value.isJsonArray()) {
            return value.getAsJsonArray().size() > 0;
        } else if (value.isJsonObject()) {
            return value.getAsJsonObject().size() > 0;
        } else if (Json.isBoolean(value)) {
            return value.getAsBoolean();
        } else if (Json.isNumber(value)) {
            return Double.parseDouble(value.getAsString()) != 0.0;
        }
        return !value.getAsString().isEmpty();
    }
}
