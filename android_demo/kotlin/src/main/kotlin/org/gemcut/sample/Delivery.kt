package org.gemcut.sample

import java.io.File
import java.net.URL
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext
import org.gemcut.core.Bundle
import org.gemcut.core.BundleException
import org.gemcut.core.BundleFiles
import org.gemcut.core.Download
import org.gemcut.core.Progress
import org.gemcut.core.ZipFiles

/**
 * Gets the app's bundle into its storage: from the app's assets, which are those of its base module and of every asset
 * pack that is delivered with the install, or by a download.
 *
 * @param folder of the app's storage, for this alone
 * @param shipped the assets; null where the app ships without a bundle
 * @param address of a `.gemcut` file, where it ships without one; another version has another file name
 */
class Delivery(private val folder: File, private val shipped: BundleFiles?, private val address: URL?) {
    /** Whether [bundle] has to download something. */
    val needsDownload: Boolean
        get() = shipped == null && address != null && !File(folder, nameOf(address)).isDirectory

    /**
     * The bundle, whole: every byte is compared with its manifest, each time, since runtimes crash on a damaged program.
     * An older version in the storage is removed.
     *
     * @param progress told of bytes; may stop it, as cancelling does
     */
    suspend fun bundle(progress: Progress = Progress.NONE): Bundle = withContext(Dispatchers.IO) {
        val watched = Progress { done, total, what -> isActive && progress.update(done, total, what) }
        val name = shipped?.let { Bundle.open(it).manifest.sha256 } ?: address?.let(::nameOf)
            ?: throw BundleException(BundleException.Kind.NOT_A_BUNDLE, "this app has no bundle", "build it with one")
        val home = File(folder, name)
        val bundle = kept(home, watched) ?: checked(home.also { install(it, watched) }, watched)
        folder.listFiles().orEmpty().filter { it != home }.forEach { it.deleteRecursively() }
        bundle
    }

    /** What is in the storage already; null if nothing is, or it was damaged. */
    private fun kept(home: File, progress: Progress): Bundle? = try {
        if (home.isDirectory) checked(home, progress) else null
    } catch (error: BundleException) {
        if (error.kind() != BundleException.Kind.DAMAGED) throw error
        home.deleteRecursively()
        null
    }

    private fun checked(home: File, progress: Progress): Bundle = Bundle.open(home).also { it.verify(progress) }

    private fun install(home: File, progress: Progress) {
        if (shipped != null) return unpack(shipped, home, progress)
        val file = Download.fetch(address, File(folder, "${home.name}.gemcut"), progress)
        try {
            ZipFiles(file).use { unpack(it, home, progress) }
        } finally {
            file.delete() // unpacked, or damaged
        }
    }

    /** Copies what was checked to a folder that gets its name when it is complete. */
    private fun unpack(from: BundleFiles, home: File, progress: Progress) {
        Bundle.open(from).verify(progress) // names that lead out of the folder don't pass
        val incoming = File(folder, ".incoming").apply { deleteRecursively() }
        for (name in from.names()) {
            val file = File(incoming, name).apply { parentFile?.mkdirs() }
            from.open(name).use { source -> file.outputStream().use(source::copyTo) }
        }
        if (!incoming.renameTo(home)) {
            throw BundleException(BundleException.Kind.STORAGE, "the bundle can't be put in its place", "free some storage")
        }
    }

    private fun nameOf(address: URL): String = address.path.substringAfterLast('/').removeSuffix(".gemcut")
}
