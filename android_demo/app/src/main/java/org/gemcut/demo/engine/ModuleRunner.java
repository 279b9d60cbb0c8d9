package org.gemcut.demo.engine;

import org.gemcut.core.BundleException;
import org.gemcut.core.ChunkedRunner;
import org.gemcut.core.Manifest;
import org.pytorch.executorch.EValue;
import org.pytorch.executorch.Module;
import org.pytorch.executorch.Tensor;

/** A program's logits through ExecuTorch's Module: forward(tokens [1, n] int64, input_pos [1] int64) -> logits [1, V]. */
final class ModuleRunner extends ChunkedRunner {
    private final Module module;
    private final int vocabulary;

    ModuleRunner(Module module, Manifest manifest) {
        super(manifest);
        this.module = module;
        this.vocabulary = manifest.vocabSize;
    }

    @Override
    protected float[] forward(int[] ids, int position) throws BundleException {
        long[] tokens = new long[ids.length];
        for (int i = 0; i < ids.length; i++) {
            tokens[i] = ids[i];
        }
        float[] logits;
        try {
            EValue[] outputs = module.forward(
                    EValue.from(Tensor.fromBlob(tokens, new long[] {1, ids.length})),
                    EValue.from(Tensor.fromBlob(new long[] {position}, new long[] {1})));
            logits = outputs.length == 0 ? new float[0] : outputs[0].toTensor().getDataAsFloatArray();
        } catch (RuntimeException error) {
            throw Failures.of("the program failed at position " + position, error);
        }
        if (logits.length != vocabulary) {
            throw new BundleException(BundleException.Kind.RUNTIME,
                    "the program gives " + logits.length + " logits for a vocabulary of " + vocabulary,
                    "export the bundle again");
        }
        return logits;
    }
}
