package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * Float32 and int32 tensors out of a safetensors file, one share after the other.
 *
 * <p>The format: https://github.com/huggingface/safetensors#format. Eight bytes of header length, a header in JSON,
 * then the tensors' bytes, little-endian, without holes.
 */
final class Safetensors {
    private final String name;
    private final ByteBuffer data;
    private final Map<String, Tensor> tensors = new HashMap<String, Tensor>();

    private static final class Tensor {
        String type;
        int rows;
        int width;
        int begin;
        int taken;
    }

    Safetensors(byte[] bytes, String name) throws BundleException {
        this.name = name;
        ByteBuffer whole = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long header = bytes.length < 8 ? -1 : whole.getLong(0);
        if (header < 2 || header > bytes.length - 8) {
            throw BundleException.damaged(name + " is truncated or no safetensors file");
        }
        byte[] json = new byte[(int) header];
        System.arraycopy(bytes, 8, json, 0, json.length);
        whole.position(8 + json.length);
        data = whole.slice().order(ByteOrder.LITTLE_ENDIAN);
        readHeader(Json.object(Json.parse(Json.text(json, name).trim(), name), name));
    }

    private void readHeader(JsonObject header) throws BundleException {
        TreeMap<Integer, Integer> ends = new TreeMap<Integer, Integer>();
        for (Map.Entry<String, JsonElement> item : header.entrySet()) {
            if (item.getKey().equals("__metadata__")) {
                continue;
            }
            String where = name + ": " + item.getKey();
            JsonObject entry = Json.object(item.getValue(), where);
            int[] shape = Json.integers(entry.get("shape"), where + ": shape");
            int[] offsets = Json.integers(entry.get("data_offsets"), where + ": data_offsets");
            Tensor tensor = new Tensor();
            tensor.type = Json.string(entry, "dtype", where);
            boolean flat = shape.length == 1 || shape.length == 2;
            if (!flat || offsets.length != 2 || !(tensor.type.equals("F32") || tensor.type.equals("I32"))) {
                throw BundleException.damaged(where + " is of a kind that no golden has");
            }
            tensor.rows = shape[0];
            tensor.width = shape.length == 2 ? shape[1] : 1;
            tensor.begin = offsets[0];
            long size = 4L * tensor.rows * tensor.width;
            if (shape[0] < 0 || tensor.width < 0 || offsets[0] < 0 || offsets[1] - (long) offsets[0] != size
                    || offsets[1] > data.limit()) {
                throw BundleException.damaged(where + " is truncated, or its shape is wrong");
            }
            if (size > 0 && ends.put(offsets[0], offsets[1]) != null) {
                throw BundleException.damaged(where + " lies where another tensor lies");
            }
            tensors.put(item.getKey(), tensor);
        }
        int at = 0;
        for (Map.Entry<Integer, Integer> one : ends.entrySet()) {
            if (one.getKey() != at) {
                throw BundleException.damaged(name + " has a hole or an overlap at byte " + at);
            }
            at = one.getValue();
        }
        if (at != data.limit()) {
            throw BundleException.damaged(name + " has " + (data.limit() - at) + " bytes too many");
        }
    }

    /** Where the next rows of a tensor begin, once it is sure that there are so many. */
    private int take(String tensor, String type, int rows) throws BundleException {
        Tensor found = tensors.get(tensor);
        if (found == null || !found.type.equals(type)) {
            throw BundleException.damaged(name + " has no tensor " + tensor + " of " + type);
        }
        if (rows < 0 || rows > found.rows - found.taken) {
            throw BundleException.damaged(name + ": " + tensor + " has " + found.rows + " rows, "
                    + ((long) found.taken + rows) + " are wanted");
        }
        int at = found.begin + 4 * found.width * found.taken;
        found.taken += rows;
        return at;
    }

    private void flat(String tensor) throws BundleException {
        if (tensors.containsKey(tensor) && tensors.get(tensor).width != 1) {
            throw BundleException.damaged(name + ": " + tensor + " has the wrong shape");
        }
    }

    /** The next so many numbers of an int32 tensor [N]. */
    int[] ints(String tensor, int count) throws BundleException {
        flat(tensor);
        int at = take(tensor, "I32", count);
        int[] out = new int[count];
        for (int i = 0; i < count; i++) {
            out[i] = data.getInt(at + 4 * i);
        }
        return out;
    }

    /** The next so many numbers of a float32 tensor [N]. */
    float[] floats(String tensor, int count) throws BundleException {
        flat(tensor);
        int at = take(tensor, "F32", count);
        float[] out = new float[count];
        for (int i = 0; i < count; i++) {
            out[i] = data.getFloat(at + 4 * i);
        }
        return out;
    }

    /** The next so many rows of an int32 tensor [N, K]. */
    int[][] intRows(String tensor, int rows) throws BundleException {
        int at = take(tensor, "I32", rows);
        int[][] out = new int[rows][tensors.get(tensor).width];
        for (int[] row : out) {
            for (int i = 0; i < row.length; i++, at += 4) {
                row[i] = data.getInt(at);
            }
        }
        return out;
    }

    /** The next so many rows of a float32 tensor [N, K]. */
    float[][] floatRows(String tensor, int rows) throws BundleException {
        int at = take(tensor, "F32", rows);
        float[][] out = new float[rows][tensors.get(tensor).width];
        for (float[] row : out) {
            for (int i = 0; i < row.length; i++, at += 4) {
                row[i] = data.getFloat(at);
            }
        }
        return out;
    }

    /** Everything has been taken: a line too few in the other file would show here. */
    void done() throws BundleException {
        for (Map.Entry<String, Tensor> item : tensors.entrySet()) {
            Tensor tensor = item.getValue();
            if (tensor.taken != tensor.rows) {
                throw BundleException.damaged(name + ": " + item.getKey() + " has " + tensor.rows + " rows, "
                        + tensor.taken + " are wanted");
            }
        }
    }
}
