package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** One object of prompt.json: every key is there, and none that isn't known. */
final class Fields {
    private final JsonObject object;
    private final String where;
    private final Set<String> taken = new HashSet<String>();

    Fields(JsonElement value, String where) throws BundleException {
        this.object = Json.object(value, where);
        this.where = where;
    }

    String where(String key) {
        return where + "." + key;
    }

    boolean has(String key) {
        return object.has(key);
    }

    JsonElement get(String key) throws BundleException {
        if (!object.has(key)) {
            throw BundleException.damaged(where(key) + " is missing");
        }
        taken.add(key);
        return object.get(key);
    }

    boolean isNull(String key) throws BundleException {
        return get(key).isJsonNull();
    }

    String string(String key) throws BundleException {
        get(key);
        return Json.string(object, key, where);
    }

    String stringOrNull(String key) throws BundleException {
        get(key);
        return Json.stringOrNull(object, key, where);
    }

    boolean bool(String key) throws BundleException {
        get(key);
        return Json.bool(object, key, where);
    }

    List<String> strings(String key) throws BundleException {
        return Json.strings(get(key), where(key));
    }

    int[] integers(String key) throws BundleException {
        return Json.integers(get(key), where(key));
    }

    String oneOf(String key, String... known) throws BundleException {
        String found = string(key);
        if (!Arrays.asList(known).contains(found)) {
            throw BundleException.damaged(where(key) + " is " + Words.quoted(found) + ", not one of "
                    + Arrays.asList(known));
        }
        return found;
    }

    Fields fields(String key) throws BundleException {
        return new Fields(get(key), where(key));
    }

    /** The items of a list of objects. */
    List<Fields> list(String key) throws BundleException {
        List<Fields> found = new ArrayList<Fields>();
        for (JsonElement one : Json.array(get(key), where(key))) {
            found.add(new Fields(one, where(key) + "." + found.size()));
        }
        return found;
    }

    /** The members of an object whose keys are names. */
    Map<String, JsonElement> named(String key) throws BundleException {
        Map<String, JsonElement> found = new LinkedHashMap<String, JsonElement>();
        for (Map.Entry<String, JsonElement> one : Json.object(get(key), where(key)).entrySet()) {
            found.put(one.getKey(), one.getValue());
        }
        return found;
    }

    void done() throws BundleException {
        for (Map.Entry<String, JsonElement> one : object.entrySet()) {
            if (!taken.contains(one.getKey())) {
                throw BundleException.damaged(where(one.getKey()) + " is not known");
            }
        }
    }
}
